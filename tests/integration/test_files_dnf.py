"""Real dnf and curl through a real files worker."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from station.model.identity import Revision
from station.model.publication import Publication
from station.model.snapshot import SourceView
from tests.integration.files_lab import FilesLab

SOURCE = "ol9_base"
COUNT = 3

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("dnf", "rpmbuild", "createrepo_c", "curl"))),
    reason="dnf and rpm tools",
)

SPEC = """Name: pkg{number}
Version: 1
Release: 1
Summary: a package
License: MIT
BuildArch: noarch
%description
A package.
%files
"""


def build_repository(directory: Path) -> dict[str, bytes]:
    """A repository of COUNT packages, as path → bytes."""
    packages = directory / "repo" / "Packages"
    packages.mkdir(parents=True)
    for number in range(COUNT):
        spec = directory / f"{number}.spec"
        spec.write_text(SPEC.format(number=number))
        subprocess.run(
            ["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {directory}/build",
             "--define", f"_rpmdir {packages}", str(spec)],
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip
    subprocess.run(
        ["createrepo_c", "--quiet", str(packages.parent)], check=True, capture_output=True
    )
    root = packages.parent
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def publish(lab: FilesLab, revision: Revision) -> None:
    view = SourceView(live=Publication(1, 1, revision), revisions=(revision,))
    lab.feed.show(
        lab.snapshot(
            sources={SOURCE: view},
            listed=frozenset({SOURCE}),
            hostname="127.0.0.1",
            members=(),
            port_http=lab.http,
        )
    )
    lab.wait_ready()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FilesLab]:
    directory = tmp_path_factory.mktemp("dnf")
    files = build_repository(directory)
    files["Packages/big.bin"] = os.urandom(20_000_000)
    with FilesLab(directory) as lab:
        publish(lab, lab.storage.add(SOURCE, files))
        yield lab


@pytest.mark.parametrize("how", ["mirrorlist={base}/mirrorlist/{source}", "metalink={base}/metalink/{source}",
                                 "baseurl={base}/repo/{source}"])  # fmt: skip
def test_dnf_reads_the_metadata_and_downloads_a_package(
    lab: FilesLab, tmp_path: Path, how: str
) -> None:
    base = f"http://127.0.0.1:{lab.http}"
    repos = tmp_path / "repos"
    repos.mkdir()
    (repos / "test.repo").write_text(
        f"[{SOURCE}]\nname=test\nenabled=1\ngpgcheck=0\n{how.format(base=base, source=SOURCE)}\n"
    )
    done = subprocess.run(
        ["dnf", "-y", "--installroot", str(tmp_path / "root"), "--releasever=9", f"--setopt=reposdir={repos}",
         "--setopt=cachedir=" + str(tmp_path / "cache"), "--setopt=pluginpath=/nonexistent", "--refresh",
         "--repo", SOURCE, "install", "--downloadonly", "pkg1"],
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert list((tmp_path / "cache").rglob("pkg1-*.rpm"))


def test_curl_goes_on_with_a_download_that_was_cut(lab: FilesLab, tmp_path: Path) -> None:
    target = tmp_path / "big.bin"
    url = f"http://127.0.0.1:{lab.http}/repo/{SOURCE}/Packages/big.bin"
    whole = lab.get(f"/repo/{SOURCE}/Packages/big.bin")[1]
    target.write_bytes(whole[:7_000_001])
    subprocess.run(["curl", "-sS", "-f", "-C", "-", "-o", str(target), url], check=True, timeout=30)
    assert target.read_bytes() == whole
