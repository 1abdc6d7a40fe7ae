"""Odd requests to us, nginx, haproxy and h11: each row of the table is observed, no difference lacks its reason."""

import os
import re
import selectors
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import h11
import pytest

from tests.integration.files_lab import MTIME, FilesLab
from tests.integration.odd_requests import REASONS, ROWS, Row
from tests.integration.proxy_harness import Origin

FILE = bytes(range(250)) * 4
QUIET_S = 2.0  # that long after the last byte from anybody nobody is waited for any more
WHOLE_S = 20.0
REFUSALS = {
    "400",
    "405",
    "411",
    "413",
    "414",
    "422",
    "431",
    "501",
    "505",
    "closed",
}  # of the grammar
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})")

pytestmark = pytest.mark.skipif(
    not all(
        shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") for name in ("nginx", "haproxy")
    ),
    reason="nginx and haproxy",
)


@dataclass
class Conversation:
    """One connection with one row's bytes, and what came back."""

    sock: socket.socket
    out: bytes
    data: bytearray = field(default_factory=bytearray)
    is_closed: bool = False

    def outcome(self) -> str:
        """The statuses in order; `body` for an answer without a head, `closed`, or `waits`."""
        found = [status.decode() for status in _STATUS.findall(self.data) if status != b"100"]
        if found:
            return " ".join(found)
        return "body" if self.data else "closed" if self.is_closed else "waits"


def converse(port: int, requests: list[bytes]) -> list[str]:
    """Send each on a connection of its own, all at one time."""
    talks = []
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for request in requests:
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            sock.setblocking(False)
            talks.append(Conversation(sock, request))
            selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE, talks[-1])
        ends = time.monotonic() + WHOLE_S
        while time.monotonic() < ends and (ready := selector.select(QUIET_S)):
            for key, events in ready:
                go_on(selector, key.data, events)
    return [talk.outcome() for talk in talks]


def go_on(selector: selectors.BaseSelector, talk: Conversation, events: int) -> None:
    try:
        if events & selectors.EVENT_WRITE:
            talk.out = talk.out[talk.sock.send(talk.out) :]
            if not talk.out:
                selector.modify(talk.sock, selectors.EVENT_READ, talk)
        if events & selectors.EVENT_READ:
            piece = talk.sock.recv(65536)
            talk.data += piece
            talk.is_closed = not piece
    except BlockingIOError:
        return
    except OSError:
        talk.is_closed = True
    if talk.is_closed:
        selector.unregister(talk.sock)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


# The directories of a test are its own user's; as any other, nginx says that `user` means nothing.
NGINX = """user root; daemon off; pid {directory}/nginx.pid; error_log {directory}/error.log; worker_processes 1;
events {{ worker_connections 1024; }}
http {{ access_log off; client_body_temp_path {directory}/b; proxy_temp_path {directory}/p;
fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
server {{ listen 127.0.0.1:{port}; root {directory}/www; }} }}
"""
HAPROXY = """defaults
 mode http
 timeout client 5s
 timeout http-request 5s
frontend odd
 bind 127.0.0.1:{port}
 http-request return status 200 content-type text/plain string ok
"""


def started(directory: Path, name: str, text: str) -> Iterator[int]:
    """A server of the distribution, its configuration formatted with directory and port."""
    port = free_port()
    config = directory / f"{name}.conf"
    config.write_text(text.format(directory=directory, port=port))
    program = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") or name
    options = {"nginx": ["-c", str(config)], "haproxy": ["-db", "-q", "-f", str(config)]}[name]
    process = subprocess.Popen([program, *options], stderr=subprocess.DEVNULL)
    try:
        ends = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < ends and process.poll() is None, f"{name} did not start"
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def not_found(conn: socket.socket) -> None:
    conn.recv(65536)
    conn.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A files worker, with control's answer to what is no file of ours."""
    directory = tmp_path_factory.mktemp("odd")
    with FilesLab(directory) as lab, closing(Origin(not_found, directory / "http.sock")):
        lab.publish("demo", lab.storage.add("demo", {"repodata/repomd.xml": b"x", "a.rpm": FILE}))
        yield lab.http


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    directory = tmp_path_factory.mktemp("nginx")
    file = directory / "www/repo/demo/a.rpm"
    file.parent.mkdir(parents=True)
    file.write_bytes(FILE)
    os.utime(file, (MTIME, MTIME))
    yield from started(directory, "nginx", NGINX)


@pytest.fixture(scope="module")
def haproxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    yield from started(tmp_path_factory.mktemp("haproxy"), "haproxy", HAPROXY)


def read_by_h11(data: bytes) -> str:
    """`200` for each request that h11 reads, the status it proposes for what it refuses, or `waits`."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    found: list[str] = []
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                found.append("200")
            elif event is h11.PAUSED:
                if connection.our_state is not h11.SEND_RESPONSE:
                    break
                connection.send(h11.Response(status_code=404, headers=[("Content-Length", "0")]))
                connection.send(h11.EndOfMessage())
                connection.start_next_cycle()
            elif event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
                break
    except h11.LocalProtocolError:
        pass  # it is to close, and would read no more
    except h11.RemoteProtocolError as error:
        found.append(str(error.error_status_hint))
    return " ".join(found) or "waits"


@pytest.fixture(scope="module")
def observed(ours: int, nginx: int, haproxy: int) -> dict[str, tuple[str, str, str, str]]:
    requests = [row.request for row in ROWS]
    columns = [converse(port, requests) for port in (ours, nginx, haproxy)]
    columns.append([read_by_h11(request) for request in requests])
    return dict(zip((row.name for row in ROWS), zip(*columns, strict=True), strict=True))


def test_every_answer_is_the_one_in_the_table(observed: dict[str, tuple[str, ...]]) -> None:
    wrong = [
        f"{row.name}: expected {row.answers}, saw {' | '.join(observed[row.name])}"
        for row in ROWS
        if row.answers != " | ".join(observed[row.name])
    ]
    assert not wrong, "\n".join(wrong)


def differs(row: Row) -> bool:
    """nginx: another status. A parser without files behind it: it reads what we refuse, or refuses what we read."""
    ours, nginx, *parsers = row.answers.split(" | ")
    refused = [status in REFUSALS for status in ours.split()]
    return ours != nginx or any(
        [status in REFUSALS for status in parser.split()] != refused for parser in parsers
    )


def test_every_difference_has_its_reason_and_nothing_else_has() -> None:
    assert len(ROWS) >= 100
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert not [row.name for row in ROWS if differs(row) != bool(row.why)]
    assert {row.why for row in ROWS} == {"", *REASONS}
