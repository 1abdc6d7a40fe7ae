"""The wheel and the RPM: everything is in them, and what comes out of them starts."""

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.integration.test_units import SYSTEMD, judged

ROOT = Path(__file__).parents[2]
BUILD_S = 240.0  # most of it is unpacking and packing the libraries

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with one wheel and one RPM."""
    directory = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        ["nice", str(ROOT / ".ci/rpm"), str(directory)],
        capture_output=True,
        text=True,
        timeout=BUILD_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return directory


@pytest.fixture(scope="module")
def unpacked(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The RPM's files."""
    directory = tmp_path_factory.mktemp("root")
    script = 'rpm2archive - < "$1" | tar -xz'
    package = next(built.glob("*.rpm"))
    subprocess.run(["sh", "-c", script, "sh", package], cwd=directory, timeout=60, check=True)
    return directory


def asked(package: Path, *question: str) -> list[str]:
    done = judged("rpm", "-qp", *question, package)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_wheel_has_every_file_that_a_package_of_ours_reads(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        there = set(wheel.namelist())
    wanted = {
        path.relative_to(ROOT).as_posix()
        for top in ("station", "lbproxy")
        for path in (ROOT / top).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert not {path for path in wanted if not path.startswith("station/lab/demo/")} - there
    assert any(path.startswith("station/lab/demo/repository/") for path in there)


def test_the_rpm_has_programs_units_and_directories_with_their_owners(built: Path) -> None:
    package = next(built.glob("*.rpm"))
    form = "[%{FILENAMES} %{FILEMODES:octal} %{FILEUSERNAME}:%{FILEGROUPNAME}\n]"
    files = {line.split()[0]: line.split()[1:] for line in asked(package, "--queryformat", form)}
    for path in (
        "/usr/bin/station",
        "/usr/bin/lbproxy",
        "/usr/lib/systemd/system/station.service",
        "/usr/lib/systemd/system/lbproxy.service",
        "/usr/lib/systemd/system/station-configure.path",
        "/usr/lib/systemd/system/station-configure.service",
        "/usr/lib/sysusers.d/station.conf",
        "/usr/lib/tmpfiles.d/station.conf",
    ):
        assert files[path][1] == "root:root", path
    assert files["/etc/station"] == ["40750", "root:station"]
    assert files["/etc/lbproxy"] == ["40750", "root:lbproxy"]
    assert "python3.11" in " ".join(asked(package, "--requires"))


def test_no_file_of_the_rpm_tells_where_it_was_built(unpacked: Path) -> None:
    site = unpacked / "usr/lib/station/lib/python3.11/site-packages"
    own = [p for top in ("station", "lbproxy") for p in (site / top).rglob("*") if p.is_file()]
    small = [*own, *(unpacked / "usr/bin").iterdir(), unpacked / "usr/lib/station/pyvenv.cfg"]
    assert not [path for path in small if b"BUILDROOT" in path.read_bytes()]


def test_what_was_unpacked_starts_from_its_own_libraries(unpacked: Path) -> None:
    if not Path("/usr/bin/python3.11").exists():
        pytest.skip("the package is for Python 3.11")
    python = unpacked / "usr/lib/station/bin/python3"
    for program in ("station", "lbproxy"):
        done = judged(python, "-I", unpacked / "usr/bin" / program, "--help")
        assert done.returncode == 0, done.stderr
    where = "import aiohttp, station.control.main as m; print(aiohttp.__file__, m.__file__)"
    done = judged(python, "-I", "-c", where)
    assert done.returncode == 0, done.stderr
    assert all(path.startswith(str(unpacked)) for path in done.stdout.split())
    assert (unpacked / "usr/bin/station").read_text().startswith("#!/usr/lib/station/bin/python3\n")


def test_systemd_finds_the_packages_units_good(unpacked: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree("/usr/lib/systemd/system", root / "usr/lib/systemd/system", symlinks=True)
    shutil.copytree(
        unpacked / "usr/lib/systemd/system", root / "usr/lib/systemd/system", dirs_exist_ok=True
    )
    (root / "lib").symlink_to("usr/lib")
    shutil.copytree(unpacked / "usr/bin", root / "usr/bin")
    (root / "bin").symlink_to("usr/bin")
    (root / "bin/kill").write_text("#!/bin/sh\n", encoding="utf-8")
    (root / "bin/kill").chmod(0o755)
    for unit in sorted(path.name for path in SYSTEMD.glob("station*.service")):
        done = judged("systemd-analyze", "verify", "--man=no", f"--root={root}", unit)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
