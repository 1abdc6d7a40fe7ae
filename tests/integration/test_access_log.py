"""The access log of a real files worker: one line for each answer, also for one that was cut."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.files_lab import FilesLab
from tests.integration.lab import wait_until

REPOMD = "/repo/demo/repodata/repomd.xml"
BIG = 20_000_000


@pytest.fixture(params=["combined", "json"])
def logging(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[FilesLab, str]]:
    log = {"format": request.param, "path": str(tmp_path / "access.log")}
    with FilesLab(tmp_path, access_log=log) as lab:
        files = {"repodata/repomd.xml": b"<repomd/>", "big.rpm": bytes(BIG)}
        lab.publish("demo", lab.storage.add("demo", files))
        yield lab, request.param


def lines(lab: FilesLab, wanted: str) -> list[str]:
    """Lines with a target in them, waited for."""
    path = lab.directory / "access.log"
    found: list[str] = []

    def look() -> bool:
        text = path.read_text() if path.exists() else ""
        found[:] = [line for line in text.splitlines() if wanted in line]
        return bool(found)

    wait_until(f"a line about {wanted}", look, 5.0)
    return found


def test_each_answer_is_one_line_with_its_bytes(logging: tuple[FilesLab, str]) -> None:
    lab, form = logging
    agents = ("dnf", "two\twords \x7f")
    sizes = [len(b"".join(lab.get(REPOMD, f"User-Agent: {agent}"))) for agent in agents[:1] * 2]
    time.sleep(1.2)
    found = lines(lab, REPOMD)
    assert len(found) == 2
    if form == "json":
        first = json.loads(found[0])
        assert (first["client"], first["listener"], first["method"]) == ("127.0.0.1", "http", "GET")
        assert (first["status"], first["bytes"], first["user_agent"]) == (200, sizes[0], "dnf")
    else:
        shape = r'127\.0\.0\.1 - - \[[^]]+ \+0000\] "GET (\S+) HTTP/1\.1" 200 (\d+) "-" "dnf"'
        match = re.fullmatch(shape, found[0])
        assert match and match[1] == REPOMD and int(match[2]) == sizes[0]


def test_what_a_client_sends_cannot_make_a_second_line(logging: tuple[FilesLab, str]) -> None:
    lab, _ = logging
    lab.get('/repo/demo/no"such%0aname', 'User-Agent: a"b\\ \x1b[31m'.replace("\x1b", "é"))
    found = lines(lab, "such%0aname")
    assert len(found) == 1
    assert found[0].isascii()


def test_an_answer_that_was_cut_is_logged_with_what_was_sent(
    logging: tuple[FilesLab, str],
) -> None:
    lab, form = logging
    with lab.connect() as sock:
        sock.sendall(b"GET /repo/demo/big.rpm HTTP/1.1\r\nHost: h\r\n\r\n")
        assert sock.recv(1000)
    found = lines(lab, "big.rpm")
    sent = (
        json.loads(found[0])["bytes"] if form == "json" else int(found[0].split('" ')[1].split()[1])
    )
    assert 0 < sent < BIG


def test_a_log_that_cannot_be_written_stops_no_answer(tmp_path: Path) -> None:
    log = {"format": "json", "path": str(tmp_path / "no" / "such" / "directory")}
    with FilesLab(tmp_path, access_log=log) as lab:
        lab.publish("demo", lab.storage.add("demo", {"repodata/repomd.xml": b"x"}))
        assert lab.get(REPOMD)[1] == b"x"
        wait_until(
            "a count of dropped lines",
            lambda: lab.feed.counters().get("access_log_dropped", 0) > 0,
            5.0,
        )
