"""The command line against one real station: what it prints, and what it says when it is refused."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.lab import wait_until

ADDRESS = "127.0.27.11"
START_S = 30.0
STOP_S = 40.0

TOML = """
name = "StationA"
compartment = "test"
hostname = "{address}"
state_directory = "{root}/state"
address = "{address}"
listen = "{address}"
[mirror]
directory = "{root}/mirror"
[admin]
socket = "{root}/admin.sock"
"""


class Shell:
    """`station …` with the socket of the one station."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "station.toml"

    def run(self, *words: str, with_socket: bool = True) -> subprocess.CompletedProcess[str]:
        socket = ["--socket", str(self.root / "admin.sock")] if with_socket else []
        return subprocess.run(
            [sys.executable, "-m", "station", *words, *socket],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def ok(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.ok(*words, "--json"))

    def refused(self, *words: str) -> tuple[int, str]:
        done = self.run(*words)
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1, "one line, no traceback"
        return done.returncode, done.stderr


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    root = Path(tempfile.mkdtemp(prefix="cli-"))
    made = Shell(root)
    made.config.write_text(TOML.format(root=root, address=ADDRESS), encoding="utf-8")
    config = ("--config", str(made.config))
    done = made.run("group", "create", *config, with_socket=False)
    assert done.returncode == 0, done.stderr
    with (root / "log").open("wb") as log:
        service = subprocess.Popen(
            [sys.executable, "-m", "station", "run", *config], stdout=log, stderr=log
        )
    try:
        wait_until("an answer", lambda: made.run("status").returncode == 0, START_S)
        yield made
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(STOP_S)
    shutil.rmtree(root)


def test_records_are_made_shown_listed_and_deleted(shell: Shell) -> None:
    said = shell.ok("source", "create", "base", "--url", "http://127.0.0.1:9/base")
    assert said == "source base created; held by 0 peers\n"
    shell.ok("profile", "create", "web", "--station", "StationA", "--source", "base")
    shell.ok("instance", "create", "db1", "--station", "StationA", "--source", "base")
    assert shell.json("source", "show", "base")["url"] == "http://127.0.0.1:9/base/"
    assert [row["name"] for row in shell.json("profile", "list")] == ["web"]
    assert shell.json("instance", "show", "db1")["sources"] == ["base"]
    (row,) = shell.json("mirror", "list")
    assert row["source"] == "base"
    assert row["reasons"] == [
        "instance db1 (station StationA)",
        "profile web (station StationA)",
    ]
    assert "profile web (station StationA)" in shell.ok("mirror", "list")
    assert [row["station"] for row in shell.json("mirror", "status")] == ["StationA"]
    for kind, name in (("instance", "db1"), ("profile", "web"), ("source", "base")):
        assert shell.ok(kind, "delete", name).startswith(f"{kind} {name} deleted")
    assert shell.json("mirror", "list") == []
    assert shell.ok("mirror", "list").startswith("nothing is mirrored")


def test_a_profile_takes_its_sources_with_or_without_the_option_repeated(shell: Shell) -> None:
    for name in ("one", "two"):
        shell.ok("source", "create", name, "--url", f"http://127.0.0.1:9/{name}")
    shell.ok("profile", "create", "p", "--station", "StationA", "--source", "one", "two")
    shell.ok("profile", "create", "q", "--station", "StationA", "--source=one", "--source=two")
    sources = [shell.json("profile", "show", name)["sources"] for name in "pq"]
    assert sources == [["one", "two"], ["one", "two"]]
    for kind, name in (("profile", "p"), ("profile", "q"), ("source", "one"), ("source", "two")):
        shell.ok(kind, "delete", name)


def test_a_freeze_without_a_revision_to_hold_is_refused(shell: Shell) -> None:
    revision = "0123456789abcdef" * 4
    shell.ok("source", "create", "cold", "--url", "http://127.0.0.1:9/cold")
    shell.ok("profile", "create", "f", "--station", "StationA", "--source", "cold")
    for words in (("source", "freeze", "cold"), ("profile", "freeze", "f")):
        code, said = shell.refused(*words)
        assert (code, "no revision to hold yet" in said) == (1, True)
    code, said = shell.refused("source", "freeze", "cold", "--revision", revision)
    assert (code, "no station has revision" in said) == (1, True)
    code, said = shell.refused("source", "freeze", "cold", "--until", "2020-01-01")
    assert (code, "time to come" in said) == (2, True)
    code, said = shell.refused("profile", "freeze", "f", "--source", "other")
    assert (code, "does not refer" in said) == (1, True)
    shell.ok("source", "unfreeze", "cold")
    assert shell.json("source", "show", "cold")["is_frozen"] is False
    shell.ok("profile", "delete", "f")
    shell.ok("source", "delete", "cold")


def test_station_shows_who_refers_to_it_and_an_update_says_what_follows(shell: Shell) -> None:
    shell.ok("source", "create", "base", "--url", "http://127.0.0.1:9/base")
    shell.ok("profile", "create", "web", "--station", "StationA", "--source", "base")
    shown = shell.json("station", "show", "StationA")
    assert (shown["profiles"], shown["peers"], shown["hostname"]) == (["web"], [], ADDRESS)
    before = shell.config.read_text(encoding="utf-8")
    words = ["station", "update", "StationA", "proxy.hosts=10.0.0.0/8,192.0.2.0/24"]
    words += ["description=north wing", "--config", str(shell.config)]
    done = shell.run(*words, "--json", with_socket=False)
    assert done.returncode == 0, done.stderr
    preview = json.loads(done.stdout)
    assert preview["changes"]["proxy.hosts"] == "- → 10.0.0.0/8, 192.0.2.0/24"
    assert preview["referring profiles"] == ["web"]
    assert preview["then"] == "systemctl reload station"
    assert shell.config.read_text(encoding="utf-8") == before
    done = shell.run(*words, "--yes", with_socket=False)
    assert done.returncode == 0, done.stderr
    assert 'description = "north wing"' in shell.config.read_text(encoding="utf-8")
    for wrong in ("mirror.port=1", "name=B", "proxy.hots=x", "proxy.hosts=10.0.0.1/8"):
        words = ["station", "update", "StationA", wrong, "--config", str(shell.config)]
        assert shell.run(*words, with_socket=False).returncode == 2, wrong
    shell.config.write_text(before, encoding="utf-8")
    shell.ok("profile", "delete", "web")
    shell.ok("source", "delete", "base")


def test_group_gets_another_hostname_and_the_file_follows(shell: Shell) -> None:
    file = ["station", "update", "StationA", "hostname=lb.test", "--config", str(shell.config)]
    assert shell.run(*file, with_socket=False).returncode == 2
    shell.ok("group", "update", "--hostname", "lb.test")
    status = shell.json("status")
    assert status["hostname"] == "lb.test"
    assert any("the file says" in warning for warning in status["warnings"])
    before = shell.config.read_text(encoding="utf-8")
    assert shell.run(*file, "--yes", with_socket=False).returncode == 0
    assert 'hostname = "lb.test"' in shell.config.read_text(encoding="utf-8")
    shell.config.write_text(before, encoding="utf-8")
    shell.ok("group", "update", "--hostname", ADDRESS)


def test_keepalived_judges_its_configuration(shell: Shell) -> None:
    interfaces = sorted({path.name for path in Path("/sys/class/net").iterdir()} - {"lo"})
    if not interfaces:
        pytest.skip("keepalived takes no configuration without a network interface")
    pair = ["--balancer", "192.0.2.8", "--balancer", "192.0.2.9", "--own", "192.0.2.9"]
    words = ["balancer", "render", "keepalived", *pair, "--check", "--interface"]
    assert f"{ADDRESS}/32 dev {interfaces[-1]}" in shell.ok(*words, interfaces[-1])
    done = shell.run(*words, "nowhere0")
    assert (done.returncode, "nowhere0" in done.stderr) == (1, True)
    code, said = shell.refused(*words[:-1], "--interface", "eth0", "--address", "lb.example.com")
    assert (code, "is no address" in said) == (2, True)


def test_texts_for_clients_and_the_balancer_are_printed(shell: Shell) -> None:
    shell.ok("source", "create", "base", "--url", "http://127.0.0.1:9/base")
    shell.ok("profile", "create", "web", "--station", "StationA", "--source", "base")
    text = shell.ok("profile", "repo", "web")
    assert f"mirrorlist=https://{ADDRESS}:17443/mirrorlist/base/web" in text
    text = shell.ok("profile", "repo", "web", "--scheme", "http")
    assert f"mirrorlist=http://{ADDRESS}:17080/mirrorlist/base/web" in text
    assert f"server StationA {ADDRESS}:17443 " in shell.ok("balancer", "render", "haproxy")
    assert shell.run("balancer", "render", "nginx").returncode == 2
    assert "listen https" in shell.ok("balancer", "render", "haproxy", "--check")
    done = shell.run("balancer", "render", "haproxy", "--check", "--ca", "/nowhere.pem")
    assert (done.returncode, done.stdout) == (1, "")
    assert "haproxy refuses the text" in done.stderr
    assert shell.json("mirror", "revisions", "base") == []
    code, said = shell.refused("mirror", "purge", "base")
    assert (code, "profile web (station StationA) refers to it" in said) == (1, True)
    assert shell.ok("mirror", "purge", "--dry-run").startswith("nothing has left")
    shell.ok("profile", "delete", "web")
    shell.ok("source", "delete", "base")


def test_a_failed_sync_that_was_waited_for_ends_with_1_and_the_reason(shell: Shell) -> None:
    shell.ok("source", "create", "dead", "--url", "http://127.0.0.1:9/dead")
    shell.ok("profile", "create", "d", "--station", "StationA", "--source", "dead")
    done = shell.run("mirror", "sync", "dead", "--wait", "--timeout", "45")
    assert done.returncode == 1
    assert "station: dead: " in done.stderr.splitlines()[-1]
    shell.ok("profile", "delete", "d")
    shell.ok("source", "delete", "dead")


def test_a_value_that_cannot_be_is_misuse_and_named(shell: Shell) -> None:
    code, said = shell.refused("source", "create", "x", "--url", "ftp://example.com/")
    assert code == 2
    assert "url" in said and "http://HOST" in said
    code, said = shell.refused("source", "create", "../x", "--url", "http://example.com/")
    assert code == 2
    assert "source id" in said


@pytest.mark.parametrize("kind", ["source", "profile", "instance"])
def test_what_is_not_there_is_named(shell: Shell, kind: str) -> None:
    code, said = shell.refused(kind, "show", "absent")
    assert code == 1
    assert "absent" in said


def test_a_profile_of_an_unknown_station_is_refused(shell: Shell) -> None:
    code, said = shell.refused("profile", "create", "w", "--station", "Nowhere")
    assert code != 0
    assert "Nowhere" in said


def test_a_source_that_is_not_on_the_mirror_list_is_not_synced(shell: Shell) -> None:
    shell.ok("source", "create", "idle", "--url", "http://127.0.0.1:9/idle")
    code, said = shell.refused("mirror", "sync", "idle")
    assert code == 1
    assert "not on the mirror list" in said
    shell.ok("source", "delete", "idle")


def test_the_station_tells_its_state_its_group_and_its_token(shell: Shell) -> None:
    status = shell.json("status")
    assert status["name"] == "StationA"
    assert "StationA" in shell.ok("status")
    assert [row["name"] for row in shell.json("station", "list")] == ["StationA"]
    assert shell.json("peer", "list") == []
    assert shell.ok("peer", "list") == "no peers: this station is alone\n"
    tokens = {shell.ok("group", "token") for _ in range(2)}
    assert len(tokens) == 2


def test_a_second_group_in_one_state_directory_is_refused(shell: Shell) -> None:
    done = shell.run("group", "create", "--config", str(shell.config), with_socket=False)
    assert done.returncode == 2
    assert "already belongs to station StationA" in done.stderr


def test_the_storage_is_marked_once_and_stays_what_it_is(shell: Shell) -> None:
    words = ("storage", "init", "--config", str(shell.config), "--json")
    first, second = (json.loads(shell.run(*words, with_socket=False).stdout) for _ in range(2))
    assert first == second


def test_a_token_for_nobody_is_refused_before_anything_is_written(shell: Shell) -> None:
    words = ("join", "nonsense", ADDRESS, "--config", str(shell.root / "b.toml"))
    text = TOML.format(root=shell.root / "b", address="127.0.27.12").replace("StationA", "StationB")
    (shell.root / "b.toml").write_text(text, encoding="utf-8")
    done = shell.run(*words, with_socket=False)
    assert done.returncode == 2
    assert done.stderr.startswith("station: ")
    assert not (shell.root / "b").exists()
