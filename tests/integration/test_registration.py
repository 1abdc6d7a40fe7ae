"""From a bare machine to an installed package: the real script, through the balancer, on a running group."""

import asyncio
import contextlib
import hashlib
import json
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from station.peering.token import JoinToken
from tests.integration.crowd import Crowd, at_a_rate
from tests.integration.lab import LabUnderTest, StationUnderTest, wait_until
from tests.integration.registration import (
    VENDOR,
    Machine,
    ask,
    new_key,
    registered,
    station_command,
    unpacked,
)

NETWORK = "127.46.1"


@pytest.fixture(scope="module")
def lab() -> Iterator[LabUnderTest]:
    with LabUnderTest(NETWORK) as running:
        station_command(
            running, "profile", "create", "web", "--station", "StationB", *sources(running)
        )
        yield running


def sources(lab: LabUnderTest) -> list[str]:
    return ["--source", lab.facts["sources"][0]]


@pytest.fixture
def script(lab: LabUnderTest, tmp_path: Path) -> Path:
    path = tmp_path / "instance-setup.sh"
    path.write_text(ask(lab, "GET", "/instance-setup.sh").text)
    return path


def body(**facts: str) -> dict[str, str]:
    return {"secret": secrets.token_hex(32), "hostname": "db1", "arch": "x86_64"} | facts


def test_one_printed_command_leads_from_a_bare_machine_to_an_installed_package(
    lab: LabUnderTest, tmp_path: Path
) -> None:
    machine, key = Machine(tmp_path / "m"), new_key(lab)
    (tmp_path / "key").write_text(key)
    command = station_command(lab, "profile", "command", "web").strip()
    assert key.split("-")[4] not in command
    said = machine.run("sh", "-c", f"{command} --key-file {tmp_path}/key")
    assert "registered as" in said
    machine.dnf(tmp_path / "dnf").install("station-demo-all").check()
    row = lab.stations[1].ask(f"/instances/{machine.id}")
    assert row["profile"] == "web"
    assert row["facts"]["os_version"] == "9.4"
    assert machine.read("var/lib/station-instance/previous/vendor.repo") == VENDOR
    assert not (machine.root / "etc/yum.repos.d/vendor.repo").exists()
    assert not list((machine.root / "tmp").iterdir())


@pytest.mark.parametrize("shell", [("dash",), ("bash",), ("busybox", "ash")], ids=str)
def test_script_runs_twice_with_the_same_result_and_takes_it_all_back(
    lab: LabUnderTest, tmp_path: Path, script: Path, shell: tuple[str, ...]
) -> None:
    machine = Machine(tmp_path / "m", shell)
    before, key = machine.files(), new_key(lab)
    said = machine.script(script, "--dry-run", "--key-file", "-", stdin=key)
    assert "would register" in said
    assert machine.files() == before
    machine.script(script, "--key-file", "-", stdin=key)
    once = machine.files()
    assert (
        "station-instance-setup --check-in" in once["etc/systemd/system/station-check-in.service"]
    )
    machine.script(script, "--key-file", "-", stdin=key)
    assert machine.files() == once
    program = machine.root / "usr/local/libexec/station-instance-setup"
    machine.script(program, "--check-in")
    assert machine.files() == once
    machine.script(program, "--unregister")
    assert machine.files() == before
    assert lab.stations[2].ask(f"/instances/{once['var/lib/station-instance/id'].strip()}") is None


def test_machine_that_reaches_only_the_proxy_port_registers_with_the_response_file(
    lab: LabUnderTest, tmp_path: Path, script: Path
) -> None:
    response = station_command(lab, "instance", "rsp", "web")
    keys = [line.split(" = ")[0] for line in response.splitlines()]
    assert keys == [
        "ManagementAgentInstallKey",
        "Service.plugin.osmh.download",
        "GatewayServerHost",
        "GatewayServerPort",
    ]
    (tmp_path / "rsp").write_text(response)
    machine = Machine(tmp_path / "m")
    machine.script(script, "--response-file", str(tmp_path / "rsp"), "--by-proxy")
    assert f"proxy={lab.proxy}" in machine.read("etc/yum.repos.d/station.repo")
    machine.dnf(tmp_path / "dnf").install("station-demo-hello").check()
    machine.script(machine.root / "usr/local/libexec/station-instance-setup", "--check-in")


def test_instance_follows_its_profile_at_the_next_check_in(
    lab: LabUnderTest, tmp_path: Path, script: Path
) -> None:
    machine = registered(lab, tmp_path / "m", script)
    assert "[more]" not in machine.read("etc/yum.repos.d/station.repo")
    a = lab.stations[0]
    a.tell("POST", "/sources", {"id": "more", "url": "http://127.0.0.1:9/more", "type": "PRIVATE"})
    a.tell("PATCH", "/profiles/web", {"sources": [lab.facts["sources"][0], "more"]})
    try:
        wait_until(
            "everywhere",
            lambda: all("more" in s.ask("/profiles/web")["sources"] for s in lab.stations),
            5.0,
        )
        machine.script(script, "--check-in")
        assert "[more]" in machine.read("etc/yum.repos.d/station.repo")
    finally:
        a.tell("DELETE", "/sources/more")
    row = next(r for r in lab.stations[0].ask("/instances") if r["id"] == machine.id)
    assert row["facts"]["hostname"]
    listed = station_command(lab, "instance", "list")
    assert "NORMAL" in listed
    wait_until(
        "the others hear when it was seen",
        lambda: all(
            s.ask("/instance-statuses")[machine.id]["status"] == "NORMAL" for s in lab.stations
        ),
        15.0,
    )


def test_first_check_in_on_another_station_50_ms_later_is_answered(lab: LabUnderTest) -> None:
    key = new_key(lab)
    first, second = (f"https://{s.host}:17443" for s in lab.stations[:2])
    answer = ask(lab, "PUT", "/instances/quick", key, body(), base=first)
    assert answer.status == 201, answer.text
    time.sleep(0.05)
    checked = ask(lab, "POST", "/instances/quick/checkin", answer.json["token"], {}, base=second)
    assert checked.status == 200, checked.text
    repos = ask(lab, "GET", "/instances/quick/repos", answer.json["token"], base=second)
    assert "mirrorlist=" in repos.text


def test_lost_reply_and_a_retry_on_another_station_make_one_record_and_one_use(
    lab: LabUnderTest,
) -> None:
    key, facts = new_key(lab, "--uses", "1"), body()
    for station in lab.stations:
        base = f"https://{station.host}:17443"
        assert ask(lab, "PUT", "/instances/again", key, facts, base=base).status in (200, 201)
    assert [r["id"] for r in lab.stations[2].ask("/instances")].count("again") == 1
    assert ask(lab, "PUT", "/instances/other", key, body()).status == 403
    ids = [row["id"] for row in lab.stations[1].ask("/instances")]
    assert "other" not in ids


def test_instance_that_asks_as_another_is_refused(lab: LabUnderTest) -> None:
    key = new_key(lab)
    token = {}
    for name in ("me", "you"):
        answer = ask(lab, "PUT", f"/instances/{name}", key, body())
        token[name] = answer.json["token"]
    assert ask(lab, "GET", "/instances/you/repos", token["me"]).status == 403
    assert ask(lab, "POST", "/instances/you/checkin", token["me"], {}).status == 403
    assert ask(lab, "DELETE", "/instances/you", token["me"]).status == 403
    assert ask(lab, "PUT", "/instances/you", key, body()).status == 403  # another secret
    assert ask(lab, "GET", "/instances/me/repos", token["me"]).status == 200
    assert ask(lab, "GET", "/instances/me/repos", token["me"] + "x").status == 401


def test_deregistered_instance_is_gone_for_good(lab: LabUnderTest) -> None:
    key, facts = new_key(lab), body()
    token = ask(lab, "PUT", "/instances/leaver", key, facts).json["token"]
    wait_until(
        "known everywhere", lambda: all(s.ask("/instances/leaver") for s in lab.stations), 5.0
    )
    assert ask(lab, "DELETE", "/instances/leaver", token).status == 200
    wait_until(
        "gone everywhere", lambda: not any(s.ask("/instances/leaver") for s in lab.stations), 5.0
    )
    assert ask(lab, "POST", "/instances/leaver/checkin", token, {}).status == 410
    assert ask(lab, "PUT", "/instances/leaver", "own", facts).status == 401
    assert lab.stations[0].ask("/instances/leaver") is None


def test_instances_are_switched_by_one_command(lab: LabUnderTest) -> None:
    key = new_key(lab)
    tokens = {}
    for name in ("mover1", "mover2"):
        tokens[name] = ask(lab, "PUT", f"/instances/{name}", key, body()).json["token"]
    wait_until(
        "known everywhere", lambda: all(s.ask("/instances/mover2") for s in lab.stations), 5.0
    )
    said = station_command(
        lab, "instance", "switch", *tokens, "--to", "StationC", "--from", "StationB"
    )
    assert said.startswith("2 instances switched to StationC")
    wait_until(
        "heard everywhere",
        lambda: (
            {s.ask(f"/instances/{name}")["station"] for s in lab.stations for name in tokens}
            == {"StationC"}
        ),
        5.0,
    )
    told = ask(lab, "POST", "/instances/mover1/checkin", tokens["mover1"], {}).json
    assert told["hostname"] == lab.facts["balancer"]["host"]
    assert told["others"][0] == lab.stations[2].host  # its own station first
    assert ask(lab, "GET", "/trust.pem").text.startswith("# trust=0\n-----BEGIN CERTIFICATE-----")
    assert ask(lab, "GET", "/trust.pem", base=lab.http).status == 404


def test_revoked_unknown_and_foreign_keys_register_nobody(lab: LabUnderTest) -> None:
    key = new_key(lab)
    record = lab.stations[0].ask("/profiles/web/keys")[-1]
    station_command(lab, "profile", "key", "revoke", "web", record["id"])
    wait_until(
        "revoked everywhere",
        lambda: all("revoked" in s.ask("/profiles/web/keys")[-1]["state"] for s in lab.stations),
        5.0,
    )
    assert ask(lab, "PUT", "/instances/late", key, body()).status == 403
    other = key[:-12] + "000000000000"
    assert ask(lab, "PUT", "/instances/late", other, body()).status == 401
    fresh = new_key(lab)
    assert ask(lab, "PUT", "/instances/late", fresh, body(profile="db")).status == 403


def test_profile_takes_its_install_keys_with_it(lab: LabUnderTest) -> None:
    a = lab.stations[0]
    profile = {"name": "brief", "station": a.name, "sources": []}
    a.tell("POST", "/profiles", profile)
    a.tell("POST", "/profiles/brief/keys", {"uses": 3})
    assert len(a.ask("/profiles/brief/keys")) == 1
    a.tell("DELETE", "/profiles/brief")
    a.tell("POST", "/profiles", profile)
    assert a.ask("/profiles/brief/keys") == []
    a.tell("DELETE", "/profiles/brief")


def test_urls_come_from_the_configuration_whatever_the_request_says(lab: LabUnderTest) -> None:
    forged = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil"}
    script = ask(lab, "GET", "/instance-setup.sh", headers=forged).text
    assert lab.facts["balancer"]["host"] in script
    assert "evil" not in script
    token = ask(lab, "PUT", "/instances/forged", new_key(lab), body()).json["token"]
    repos = ask(lab, "GET", "/instances/forged/repos", token, headers=forged).text
    assert "evil" not in repos


def test_nothing_of_it_is_answered_over_http(lab: LabUnderTest) -> None:
    for path in ("/instance-setup.sh", "/instances/x/repos"):
        assert ask(lab, "GET", path, base=lab.http).status == 404


def test_bad_bodies_are_refused(lab: LabUnderTest) -> None:
    key = new_key(lab)
    assert ask(lab, "PUT", "/instances/big", key, b"a" * 10_000_000).status == 413
    assert ask(lab, "PUT", "/instances/bad", key, body(hostname="a\nb")).status == 400
    assert ask(lab, "PUT", "/instances/bad", key, body(hostname="$(id)")).status == 400
    assert ask(lab, "PUT", "/instances/a%20b", key, body()).status == 400
    assert ask(lab, "PUT", "/instances/wrong", key, body(arch="s390x")).status == 409


def test_cloned_machine_is_flagged_and_its_clock_does_not_matter(
    lab: LabUnderTest, tmp_path: Path, script: Path
) -> None:
    shims = tmp_path / "bin"
    shims.mkdir()
    (shims / "date").write_text("#!/bin/sh\nexit 1\n")  # whoever asks for the time gets none
    (shims / "date").chmod(0o755)
    machines = []
    for name in ("first", "clone"):
        machine = Machine(tmp_path / name, path=f"{shims}:{os.environ['PATH']}")
        (machine.root / "etc/machine-id").write_text("fedcba9876543210fedcba9876543210\n")
        machine.script(script, "--key-file", "-", stdin=new_key(lab))
        machine.script(script, "--check-in")
        machines.append(machine)
    first, clone = (machine.id for machine in machines)
    assert first != clone
    rows = {
        row["id"]: row for row in json.loads(station_command(lab, "instance", "list", "--json"))
    }
    assert rows[first]["same_machine"] == [clone]
    assert rows[clone]["same_machine"] == [first]


SPY = """#!/bin/sh
{{ printf '%s\\n' "$*"; env; }} >>{seen}
exec {real} "$@"
"""


ADMIN_PAGES = (
    "/group/trust /instance-statuses /instances /mirrors /mirrors/status /peers /profiles /profiles/web/command "
    "/profiles/web/keys /registry /sources /stations /stations/StationA /status"
).split()


def test_no_secret_is_in_a_log_a_record_or_a_list_of_processes(
    lab: LabUnderTest, tmp_path: Path, script: Path
) -> None:
    key, spies = new_key(lab), tmp_path / "bin"
    spies.mkdir()
    for command in ("curl", "openssl", "cut", "tr", "cat", "cp", "chmod", "mkdir"):
        text = SPY.format(seen=tmp_path / "seen", real=shutil.which(command))
        (spies / command).write_text(text)
        (spies / command).chmod(0o755)
    machine = Machine(tmp_path / "m", path=f"{spies}:{os.environ['PATH']}")
    said = machine.script(script, "--key-file", "-", stdin=key)
    first = machine.token
    said += machine.script(script, "--check-in")
    canaries = [
        key.split("-")[4],
        machine.read("var/lib/station-instance/secret").strip(),
        first,
        machine.token.partition(".")[2],
    ]
    for private in ("id", "secret", "token", "settings"):
        mode = (machine.root / "var/lib/station-instance" / private).stat().st_mode
        assert mode & 0o777 == 0o600
    join_token = station_command(lab, "group", "token").strip()
    canaries += [join_token, JoinToken.parse(join_token).secret.hex()]
    for path in (lab.stations[0].config.parent / "state/pki").glob("*.key"):
        canaries.append(path.read_text().splitlines()[1])
    time.sleep(1.0)  # what was just written travels
    texts = [path.read_text(errors="replace") for path in (lab.root / "l").rglob("*.log")]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended
            texts.append(path.read_bytes().decode("latin-1"))
    texts += [said, (tmp_path / "seen").read_text(), station_command(lab, "instance", "list")]
    texts += [str(station.ask(path)) for station in lab.stations for path in ADMIN_PAGES]
    bundle = tmp_path / "bundle.tar.gz"
    config = ("--config", str(lab.stations[0].config))
    station_command(lab, "diagnose", str(bundle), *config)
    found = unpacked(bundle.read_bytes())
    assert any(machine.id in text for text in found.values())
    for secret in canaries[:2]:  # what is kept of them is not in it either
        digest = hashlib.sha256(bytes.fromhex(secret)).hexdigest()
        assert not [name for name, text in found.items() if digest[:16] in text]
    texts += found.values()
    ledgers = [path for path in (lab.root / "l").rglob("*") if path.name.startswith("registry.")]
    assert ledgers, "where is the registry?"
    texts += [path.read_bytes().decode("latin-1") for path in ledgers if path.is_file()]
    for canary in canaries:
        assert len(canary) > 40
        assert not [text for text in texts if canary in text]


SHIM = """#!/bin/sh
echo >>{count}
[ "$(wc -l <{count})" != {fails} ] || exit 1
exec {real} "$@"
"""


LONG = [pytest.param(c, marks=pytest.mark.accept) for c in ("cp", "chmod", "mkdir", "openssl")]


@pytest.mark.parametrize("command", ["mv", "curl", *LONG])
def test_command_that_fails_leaves_the_previous_configuration_or_does_no_harm(
    lab: LabUnderTest, tmp_path: Path, script: Path, command: str
) -> None:
    key, shims, failed = new_key(lab), tmp_path / "bin", 0
    shims.mkdir()
    count, real = tmp_path / "count", shutil.which(command)
    for fails in range(1, 60):
        machine = Machine(tmp_path / str(fails), path=f"{shims}:{os.environ['PATH']}")
        (shims / command).write_text(SHIM.format(count=count, fails=fails, real=real))
        (shims / command).chmod(0o755)
        count.write_text("")
        said = machine.script(script, "--key-file", "-", stdin=key, check=False)
        (shims / command).unlink()
        if said.startswith("failed"):
            failed += 1
            assert machine.read("etc/yum.repos.d/vendor.repo") == VENDOR, said
            assert not (machine.root / "etc/yum.repos.d/station.repo").exists(), said
            machine.script(script, "--key-file", "-", stdin=key)
        assert f"[{sources(lab)[1]}]" in machine.read("etc/yum.repos.d/station.repo")
        assert machine.read("var/lib/station-instance/previous/vendor.repo") == VENDOR
        assert not list((machine.root / "tmp").iterdir())
        if count.read_text().count("\n") < fails:
            break
    else:
        raise AssertionError("the last command was never reached")
    print(f"{command}: {fails - 1} calls, {failed} of them fatal when they fail")
    assert fails > 3


def test_sixty_register_within_three_seconds_while_a_station_dies(lab: LabUnderTest) -> None:
    """The last one here: the station stays dead. A thousand are an accept run."""
    crowd = Crowd(lab, new_key(lab, "--uses", "60"), 60)
    death = threading.Timer(1.0, lab.stations[2].kill_all)
    death.start()
    replies = asyncio.run(at_a_rate(crowd.size, 3.0, crowd.register))
    death.join()
    assert {reply.status for reply in replies} <= {200, 201}
    expected = [crowd.id(number) for number in range(crowd.size)]
    for station in lab.stations[:2]:
        wait_for_ids(station, expected)
        assert station.ask("/profiles/web/keys")[-1]["uses"] == crowd.size


def wait_for_ids(station: StationUnderTest, expected: list[str]) -> None:
    def known() -> list[str]:
        ids = [row["id"] for row in station.ask("/instances") or []]
        return sorted(name for name in ids if name.startswith("crowd-"))

    wait_until(f"{station.name} knows all of them, each once", lambda: known() == expected, 10.0)
