"""What people download with, through real workers: wget, aria2c and zypper from the mirror, pip through the proxy."""

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from station.model.publication import Publication
from station.model.snapshot import SourceView
from tests.integration.files_lab import FilesLab
from tests.integration.lab import wait_until
from tests.integration.proxy_harness import Proxy
from tests.integration.repositories import Repository, build_repository
from tests.integration.upstream import Upstream

BIG = os.urandom(20_000_000)

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("wget", "aria2c"))), reason="wget and aria2"
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return build_repository(tmp_path_factory.mktemp("upstream"), packages=3)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, repository: Repository) -> Iterator[FilesLab]:
    root = repository.root
    files = {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }
    with FilesLab(tmp_path_factory.mktemp("clients")) as lab:
        revision = lab.storage.add("demo", files | {"big.bin": BIG})
        view = SourceView(live=Publication(1, 1, revision), revisions=(revision,))
        lab.feed.show(
            lab.snapshot(
                sources={"demo": view},
                listed=frozenset({"demo"}),
                hostname="127.0.0.1",
                members=(),
                port_http=lab.http,
            )
        )
        lab.wait_ready()
        yield lab


def run(*command: str | Path, cwd: Path, seconds: float = 60) -> str:
    """What it said; AssertionError with all of it when it failed."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(cwd), "LANG": "C.UTF-8"}
    done = subprocess.run(
        command, cwd=cwd, env=environment, text=True, timeout=seconds, check=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert not done.returncode, f"{command[0]} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def partial_answers(lab: FilesLab) -> int:
    return lab.feed.counters().get("requests_http_206", 0)


def test_wget_goes_on_with_a_download_that_was_cut(lab: FilesLab, tmp_path: Path) -> None:
    target, before = tmp_path / "big.bin", partial_answers(lab)
    target.write_bytes(BIG[:7_000_001])
    run("wget", "-c", f"http://127.0.0.1:{lab.http}/repo/demo/big.bin", cwd=tmp_path)
    assert target.read_bytes() == BIG
    wait_until("one partial answer", lambda: partial_answers(lab) == before + 1, 5.0)


def test_aria2c_takes_a_file_in_sixteen_ranges_at_once(lab: FilesLab, tmp_path: Path) -> None:
    before = partial_answers(lab)
    run(
        "aria2c", "--no-conf", "-x16", "-s16", "-k1M", "-o", "big.bin",
        f"--checksum=sha-256={hashlib.sha256(BIG).hexdigest()}",
        f"http://127.0.0.1:{lab.http}/repo/demo/big.bin", cwd=tmp_path,
    )  # fmt: skip
    assert (tmp_path / "big.bin").read_bytes() == BIG
    wait_until("fifteen partial answers", lambda: partial_answers(lab) >= before + 15, 5.0)


@pytest.mark.skipif(
    not shutil.which("zypper"), reason="zypper: Debian does not install it beside dnf-plugins-core"
)
@pytest.mark.parametrize("how", ["baseurl={base}/repo/demo/", "mirrorlist={base}/mirrorlist/demo"])
def test_zypper_reads_the_metadata_and_downloads_a_package(
    lab: FilesLab, repository: Repository, tmp_path: Path, how: str
) -> None:
    address = how.format(base=f"http://127.0.0.1:{lab.http}")
    (tmp_path / "repos").mkdir()
    (tmp_path / "repos/demo.repo").write_text(
        f"[demo]\nname=demo\nenabled=1\nautorefresh=1\n{address}\ngpgcheck=0\ntype=rpm-md\n"
    )
    zypper = (
        "zypper", "--root", tmp_path / "root", "--reposd-dir", tmp_path / "repos",
        "--cache-dir", tmp_path / "cache", "--non-interactive", "--no-gpg-checks",
    )  # fmt: skip
    run(*zypper, "refresh", cwd=tmp_path)
    package = repository.rpms()[0]
    name = package.name.rsplit("-", 2)[0]
    assert name in run(*zypper, "search", "-t", "package", cwd=tmp_path)
    run(*zypper, "install", "--download-only", name, cwd=tmp_path)
    (found,) = (tmp_path / "cache").rglob(package.name)
    assert found.read_bytes() == package.read_bytes()


def write_wheel(directory: Path) -> Path:
    """A wheel of one empty module, as PEP 427 wants it."""
    wheel = directory / "stationdemo-1-py3-none-any.whl"
    texts = {
        "stationdemo.py": "",
        "stationdemo-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: stationdemo\nVersion: 1\n",
        "stationdemo-1.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},"
        f"{len(text)}\n"
        for name, text in texts.items()
    )
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in (texts | {"stationdemo-1.dist-info/RECORD": record}).items():
            archive.writestr(name, text)
    return wheel


def test_pip_reaches_an_https_origin_through_the_proxy(tmp_path: Path) -> None:
    root = tmp_path / "origin"
    root.mkdir()
    wheel = write_wheel(root)
    proxy = Proxy(tmp_path)
    try:
        with Upstream(root, tls=True) as origin:
            assert origin.certificate is not None
            where = f"127.0.0.1:{origin.port}"
            proxy.start(where)
            run(
                sys.executable, "-m", "pip", "download", "--isolated", "--no-index", "--no-deps",
                "--disable-pip-version-check", "--retries", "0", "--no-cache-dir",
                "--proxy", f"http://127.0.0.1:{proxy.port}", "--cert", origin.certificate.chain,
                f"{origin.url}{wheel.name}", cwd=tmp_path,
            )  # fmt: skip
        assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()
        assert re.search(f"proxy.access.*CONNECT.*{where}", proxy.log_text())
    finally:
        proxy.stop()
