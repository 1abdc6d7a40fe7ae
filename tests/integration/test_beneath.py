"""What a files worker opens: only what manifests name, only below its own directories, never by a link."""

import os
import re
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.integration.files_lab import FilesLab, status
from tests.integration.lab import wait_until

FILES = {"repodata/repomd.xml": b"x", "a.rpm": b"a" * 500_000, "b.rpm": b"b" * 500_000}
OUTSIDE = (
    "/../../etc/passwd", "/repo/demo/../../../etc/passwd", "/repo/demo/%2e%2e/%2e%2e/etc/passwd",
    "/repo/demo/..%2f..%2fetc/passwd", "//etc/passwd", "/%2fetc/passwd", "/repo/demo//etc/passwd",
    "/repo/demo/..\\\\..\\\\etc\\\\passwd", "/repo/demo/a.rpm%00", "/repo/demo/%ff", "/repo/demo/%252e%252e/x",
    "/repo/demo/%c0%ae%c0%ae/etc/passwd", "/repo/%2e%2e/station.storage", "/repo/demo/@../x",
)  # fmt: skip
NAMES = (
    ".station", ".station.storage", "station.storage", "a.rpm.part", ".nfs0000000000000001", "manifest", "live",
    "staging/x", "pool/aa", ".lock", "state.sqlite",
)  # fmt: skip


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FilesLab]:
    with FilesLab(tmp_path_factory.mktemp("beneath")) as lab:
        lab.publish("demo", lab.storage.add("demo", FILES))
        for name in NAMES:  # some of them are really there
            path = lab.storage.layout.root / "sources/demo" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        yield lab


@pytest.mark.skipif(not shutil.which("strace"), reason="strace")
def test_no_target_makes_it_open_anything_but_objects_and_manifests(
    lab: FilesLab, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    pid = str(lab.process.pid)
    command = ["strace", "-f", "-p", pid, "-e", "trace=open,openat,openat2", "-o", str(trace)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as strace:
        try:
            attached = Path(f"/proc/{pid}/status")
            wait_until("attached", lambda: "TracerPid:\t0" not in attached.read_text(), 5.0)
            for target in OUTSIDE:
                lab.get(target)
            for name in NAMES:
                assert status(lab.get(f"/repo/demo/{name}")[0]) == 404
            assert status(lab.get("/repo/demo/b.rpm")[0]) == 200
            wait_until("an open is seen", lambda: "pool/" in trace.read_text(), 5.0)
        finally:
            strace.terminate()
    opened = re.findall(r'open(?:at2?)?\([^"]*"([^"]+)"', trace.read_text())
    beneath = (f"{lab.storage.layout.root}/", f"{lab.directory}/manifests/")
    assert opened
    assert not [path for path in opened if not path.startswith(beneath) or ".." in path]


def test_a_link_in_the_place_of_an_object_is_not_followed(lab: FilesLab, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"s" * 500_000)  # of the right size
    place = lab.storage.layout.pool(sha256(FILES["a.rpm"]).hexdigest())
    spare, link = place.with_name("spare"), place.with_name("link")
    swaps, is_over = 0, threading.Event()

    def swap_for_ever() -> None:
        nonlocal swaps
        while not is_over.is_set():  # now a link, now the object
            link.symlink_to(secret)
            link.rename(place)
            os.link(spare, link)
            link.rename(place)
            swaps += 2

    os.link(place, spare)
    racer = threading.Thread(target=swap_for_ever)
    begun, seen = time.monotonic(), Counter[bytes]()
    racer.start()
    try:
        while time.monotonic() < begun + 2.0 or len(seen) < 2:
            assert time.monotonic() < begun + 20.0, seen
            seen[outcome(lab)] += 1
    finally:
        is_over.set()
        racer.join()
    print(f"{swaps / (time.monotonic() - begun):.0f} swaps a second, answers {seen}")
    assert not set(seen) - {b"a", b""}, "bytes of another file were sent"


def outcome(lab: FilesLab) -> bytes:
    """The letter that the file is made of; nothing when there is no answer or no file."""
    try:
        head, body = lab.get("/repo/demo/a.rpm")
    except (OSError, EOFError):
        return b""
    return bytes(set(body)) if status(head) == 200 else b""
