"""instance-setup.sh as text and in three shells, the one command, the response file."""

import re
import shlex
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import station.setup.instance_script
from station.model.install_key import InstallKey
from station.model.records import GroupRecord, Ports
from station.setup.instance_script import (
    TEMPLATE,
    registration_command,
    render_response_file,
    render_script,
)

RAW = Path(station.setup.instance_script.__file__).with_name(TEMPLATE).read_text(encoding="utf-8")
GROUP = GroupRecord(id="g", compartment="c", hostname="lb.example.com")
FINGERPRINT = "ab" * 32
SCRIPT = render_script(RAW, GROUP, FINGERPRINT)
SHELLS = [("dash",), ("bash", "--posix"), ("busybox", "ash")]
KEY = InstallKey(bytes.fromhex(FINGERPRINT), 17443, bytes(32)).text()

hosts = st.one_of(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}", fullmatch=True),
    st.ip_addresses(v=6).map(str),
    st.text(max_size=60),
)


def run(shell: tuple[str, ...], text: str, tmp_path: Path, *options: str) -> tuple[int, str]:
    """Run a script with nothing to reach: curl is a program that leaves a mark."""
    path = tmp_path / "programs"
    path.mkdir(exist_ok=True)
    (path / "curl").write_text(f"#!/bin/sh\necho called >>{tmp_path}/curl\nexit 7\n")
    (path / "curl").chmod(0o755)
    (tmp_path / "script").write_text(text)
    done = subprocess.run(
        [*shell, str(tmp_path / "script"), *options],
        env={"PATH": f"{path}:/usr/bin:/bin", "ROOT": str(tmp_path / "root"), "TMPDIR": "/tmp"},
        input=KEY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout


def parses(shell: tuple[str, ...], text: str) -> bool:
    done = subprocess.run([*shell, "-n"], input=text, text=True, capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.parametrize("text", [RAW, SCRIPT], ids=["template", "rendered"])
def test_script_parses_in_every_shell_and_shellcheck_has_nothing_to_say(text: str) -> None:
    assert all(parses(shell, text) for shell in SHELLS)
    done = subprocess.run(
        ["shellcheck", "--shell=sh", "--severity=warning", "-"],
        input=text,
        text=True,
        stdout=subprocess.PIPE,
        check=False,
    )
    assert done.stdout == ""


@given(host=hosts, ports=st.tuples(*[st.integers(1, 65535)] * 3))
@settings(max_examples=40, deadline=None)
def test_whatever_the_host_is_called_the_script_says_only_that(
    host: str, ports: tuple[int, int, int]
) -> None:
    proxy, http, https = ports
    places = {"proxy": proxy, "http": http, "https": https}
    group = GROUP.model_copy(update={"hostname": host, "ports": Ports(**places)})
    try:
        text = render_script(RAW, group, FINGERPRINT)
    except ValueError:
        assert not re.fullmatch(r"[A-Za-z0-9._:-]+", host)
        with pytest.raises(ValueError, match="not a host name"):
            registration_command(group, FINGERPRINT)
        with pytest.raises(ValueError, match="not a host name"):
            render_response_file(group, KEY)
        return
    head = text[: text.index("usage()")] + 'printf "%s|" "$STATION_HOST" "$STATION_HTTPS"'
    said = subprocess.run(["dash", "-c", head], capture_output=True, text=True, check=True).stdout
    assert said == f"{host}|{https}|"
    for by_proxy in (False, True):
        command = registration_command(group, FINGERPRINT, by_proxy=by_proxy)
        words = shlex.split(command)
        assert words[:2] == ["sh", "-c"]
        assert parses(("dash",), words[2])
        assert parses(("dash",), command)
    assert f"GatewayServerHost = {host}\n" in render_response_file(group, KEY)


@pytest.mark.parametrize("fingerprint", ["", "AB" * 32, "ab" * 31, "$(id)" * 8])
def test_fingerprint_that_is_none_is_refused(fingerprint: str) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal"):
        render_script(RAW, GROUP, fingerprint)
    with pytest.raises(ValueError, match="64 hexadecimal"):
        registration_command(GROUP, fingerprint)


def test_download_that_was_cut_runs_nothing(tmp_path: Path) -> None:
    """At each of the last bytes, where calling begins, and at a sample of the others."""
    (tmp_path / "root").mkdir()
    cuts = [*range(0, len(SCRIPT) - 200, 613), *range(len(SCRIPT) - 40, len(SCRIPT) - 1)]
    for cut in cuts:
        run(("dash",), SCRIPT[:cut], tmp_path, "--key-file", "-")
        assert not (tmp_path / "curl").exists(), SCRIPT[:cut][-60:]
        assert not list((tmp_path / "root").iterdir())
    run(("dash",), SCRIPT, tmp_path, "--key-file", "-")
    assert (tmp_path / "curl").exists()


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_stations_that_cannot_be_reached_change_nothing(
    shell: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "root").mkdir()
    status, said = run(shell, SCRIPT, tmp_path, "--key-file", "-")
    assert status == 1
    assert "nothing was changed" in said
    assert KEY.split("-")[4] not in said
    assert not list((tmp_path / "root").iterdir())


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("Service.plugin.osmh.download = true\n", "no ManagementAgentInstallKey"),
        (f"ManagementAgentInstallKey = {KEY[:-1]}\n", "cut or mistyped"),
        ("ManagementAgentInstallKey = $(touch root/hit)\n", "no install key"),
        (f"ManagementAgentInstallKey={KEY}\nGatewayServerHost=`touch root/hit`\n", "no host"),
        (f"ManagementAgentInstallKey={KEY}\nService.plugin.osmh.download=false\n", "not true"),
        ("touch root/hit\n", "not KEY = VALUE"),
        (KEY.replace("ab" * 32, "cd" * 32), "not KEY = VALUE"),
    ],
)
def test_nothing_in_a_response_file_is_run(
    shell: tuple[str, ...], content: str, why: str, tmp_path: Path
) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "rsp").write_text(content)
    status, said = run(shell, SCRIPT, tmp_path, "--response-file", str(tmp_path / "rsp"))
    assert (status, why in said) == (1, True), said
    assert not list((tmp_path / "root").iterdir())


def test_key_of_another_group_is_refused_before_anybody_is_asked(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    other = InstallKey(bytes(32), 17443, bytes(32)).text()
    (tmp_path / "key").write_text(other)
    status, said = run(("dash",), SCRIPT, tmp_path, "--key-file", str(tmp_path / "key"))
    assert status == 1
    assert "another group" in said
    assert not (tmp_path / "curl").exists()


def test_help_and_unknown_options_need_nothing(tmp_path: Path) -> None:
    assert run(("dash",), SCRIPT, tmp_path, "--help")[0] == 0
    assert run(("dash",), SCRIPT, tmp_path, "--nonsense")[0] == 1
    assert not (tmp_path / "curl").exists()


def test_timer_checks_in_every_two_minutes_with_a_splay() -> None:
    assert "OnUnitActiveSec=2min" in RAW
    assert "RandomizedDelaySec=30s" in RAW


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@given(
    key=st.one_of(
        st.text(max_size=200),
        st.from_regex(
            r"install-1-[0-9]{1,6}-[0-9a-f]{1,64}-[0-9a-f]{1,64}-[0-9a-f]{8}", fullmatch=True
        ),
        st.sampled_from(["$(touch hit)", "`touch hit`", "'; touch hit; '", "-n", "\\0", "*"]).map(
            KEY.__add__
        ),
    )
)
@settings(max_examples=25, deadline=None)
def test_whatever_stands_for_an_install_key_it_is_a_good_one_or_nothing_happens(
    shell: tuple[str, ...], key: str
) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "root").mkdir()
        (directory / "key").write_text(key, encoding="utf-8", errors="replace")
        status, said = run(shell, SCRIPT, directory, "--key-file", str(directory / "key"))
        assert status == 1, said
        assert not (directory / "curl").exists()
        assert sorted(path.name for path in directory.iterdir()) == [
            "key",
            "programs",
            "root",
            "script",
        ]
        assert not list((directory / "root").iterdir())
