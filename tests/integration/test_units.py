"""The systemd files, as systemd's own programs judge them, and haproxy.cfg, as haproxy does."""

import shutil
import subprocess
from pathlib import Path

import pytest

from station.model.records import GroupRecord, StationRecord
from station.setup.haproxy import HaproxyOptions, render_haproxy

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNITS = ("station.service", "lbproxy.service")
# Run as root, for what only root can do; no measure of exposure fits it.
HOST_UNITS = ("station-configure.service", "station-configure.path")
EXPOSURE_MAX = 1.5


def judged(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(argument) for argument in arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A file system with our units, the programs they start, and the units of the distribution."""
    shutil.copytree("/usr/lib/systemd/system", tmp_path / "usr/lib/systemd/system", symlinks=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    for directory in ("usr/bin", "bin", "etc/systemd/system", "etc/tmpfiles.d", "mnt"):
        (tmp_path / directory).mkdir(parents=True)
    for program in ("usr/bin/station", "usr/bin/lbproxy", "bin/kill"):
        (tmp_path / program).write_text("#!/bin/sh\n", encoding="utf-8")
        (tmp_path / program).chmod(0o755)
    for unit in UNITS + HOST_UNITS:
        shutil.copy(SYSTEMD / unit, tmp_path / "etc/systemd/system")
    shutil.copy(SYSTEMD / "station.tmpfiles", tmp_path / "etc/tmpfiles.d/station.conf")
    return tmp_path


@pytest.mark.parametrize("unit", UNITS + HOST_UNITS)
def test_systemd_finds_nothing_to_say_about_a_unit(root: Path, unit: str) -> None:
    done = judged("systemd-analyze", "verify", "--man=no", f"--root={root}", unit)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_would_say_something_about_a_wrong_unit(root: Path) -> None:
    unit = root / "etc/systemd/system/station.service"
    text = unit.read_text(encoding="utf-8")
    unit.write_text(text.replace("ProtectSystem=", "ProtectSytem="), encoding="utf-8")
    done = judged("systemd-analyze", "verify", "--man=no", f"--root={root}", "station.service")
    assert "ProtectSytem" in done.stderr


@pytest.mark.parametrize("unit", UNITS)
def test_a_units_exposure_is_at_most_one_and_a_half(unit: str) -> None:
    threshold = f"--threshold={EXPOSURE_MAX * 10:.0f}"
    done = judged(
        "systemd-analyze", "security", "--offline=true", "--no-pager", threshold, SYSTEMD / unit
    )
    assert done.returncode == 0, done.stdout.splitlines()[-1]
    score = float(done.stdout.strip().splitlines()[-1].split(":")[1].split()[0])
    assert score <= EXPOSURE_MAX


def test_sysusers_makes_the_two_users(root: Path) -> None:
    done = judged("systemd-sysusers", f"--root={root}", SYSTEMD / "station.sysusers")
    assert done.returncode == 0, done.stderr
    users = (root / "etc/passwd").read_text(encoding="utf-8")
    assert [line.split(":")[0] for line in users.splitlines()] == ["station", "lbproxy"]


def test_tmpfiles_makes_the_directories_for_these_users(root: Path) -> None:
    judged("systemd-sysusers", f"--root={root}", SYSTEMD / "station.sysusers")
    done = judged("systemd-tmpfiles", f"--root={root}", "--create", "station.conf")
    assert done.returncode == 0, done.stderr
    modes = {
        path: (root / path).stat().st_mode & 0o777
        for path in ("etc/station", "etc/lbproxy", "mnt/mirror")
    }
    assert modes == dict.fromkeys(modes, 0o750)


def test_every_directory_a_unit_writes_to_is_made_by_somebody() -> None:
    unit = (SYSTEMD / "station.service").read_text(encoding="utf-8")
    assert "StateDirectory=station\n" in unit
    assert "RuntimeDirectory=station\n" in unit
    assert "d /mnt/mirror " in (SYSTEMD / "station.tmpfiles").read_text(encoding="utf-8")


@pytest.mark.parametrize("send_proxy", [False, True])
def test_haproxy_accepts_what_we_render_also_while_a_name_does_not_resolve(
    tmp_path: Path, send_proxy: bool
) -> None:
    group = GroupRecord(id="g", compartment="c", hostname="lb.example.com")
    stations = [
        StationRecord(name="StationA", address="127.0.0.11"),
        StationRecord(name="StationB", address="station-b.invalid"),
        StationRecord(name="StationC", address="::1"),
    ]
    options = HaproxyOptions(bind="127.0.0.10", send_proxy=send_proxy)
    path = tmp_path / "haproxy.cfg"
    path.write_text(render_haproxy(group, stations, options), encoding="utf-8")
    done = judged("haproxy", "-c", "-f", path)
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if "WARNING" in line]
    assert len(warnings) == 3, done.stderr
    assert all("could not resolve address 'station-b.invalid'" in line for line in warnings)
