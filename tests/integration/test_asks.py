"""Check-ins that are here as a whole are asked over the feed; everything else takes the relay."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.certificates import Certificate
from tests.integration.files_lab import FilesLab, header, read_answer
from tests.integration.lab import wait_until
from tests.integration.proxy_harness import Origin

BODY = b"hostname=a\narch=x86_64\n"
RELAYED = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nrelayed"
WAIT_S = 5.0


def request(body: bytes = BODY, path: str = "/instances/one/checkin") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer token\r\nAccept: text/plain\r\n"
        f"Content-Type: text/plain\r\nContent-Length: {len(BODY)}\r\n\r\n"
    ).encode() + body


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[FilesLab]:
    certificate = Certificate.make(tmp_path)
    limits = {"relays": 2, "relay_idle_s": 2}
    with FilesLab(tmp_path, tls=(certificate.chain, certificate.key), limits=limits) as lab:
        lab.feed.show(lab.snapshot())
        lab.wait_ready()
        yield lab


@pytest.fixture
def relay(lab: FilesLab) -> Iterator[Origin]:
    def answer(conn: socket.socket) -> None:
        data = b""
        while not data.endswith(BODY):
            data += conn.recv(65536)
        conn.sendall(RELAYED)

    with contextlib.closing(Origin(answer, lab.directory / "http.sock")) as origin:
        yield origin


def asks(lab: FilesLab) -> list[dict[str, Any]]:
    return [message["ask"] for message in list(lab.feed.received) if "ask" in message]


def test_a_whole_check_in_is_asked_and_its_answer_ends_the_connection(
    lab: FilesLab, relay: Origin
) -> None:
    with lab.connect_tls() as sock:
        sock.sendall(request())
        wait_until("control is asked", lambda: asks(lab), WAIT_S)
        (ask,) = asks(lab)
        assert ask == {
            "id": ask["id"],
            "instance": "one",
            "client": "127.0.0.1",
            "authorization": "Bearer token",
            "content-type": "text/plain",
            "accept": "text/plain",
            "body": BODY.decode(),
        }
        lab.feed.send({"told": {"id": ask["id"] + 1, "status": 200, "media": "t/p", "body": "no"}})
        told = {"id": ask["id"], "status": 410, "media": "text/plain", "body": "gone\n"}
        lab.feed.send({"told": told})
        head, body = read_answer(sock)
        assert head.startswith(b"HTTP/1.1 410 Gone\r\n") and body == b"gone\n"
        assert (header(head, "Content-Type"), header(head, "Connection")) == ("text/plain", "close")
        assert sock.recv(1) == b""
    assert not relay.accepted


@pytest.mark.parametrize("path", ["/instances/one/repos", "/instances/one/checkin?a"])
def test_what_is_no_check_in_takes_the_relay(lab: FilesLab, relay: Origin, path: str) -> None:
    with lab.connect_tls() as sock:
        sock.sendall(request(path=path))
        assert read_answer(sock)[1] == b"relayed"
    assert not asks(lab)


def test_a_check_in_over_http_takes_the_relay_where_it_is_refused(
    lab: FilesLab, relay: Origin
) -> None:
    assert lab.ask(request())[1] == b"relayed"
    assert not asks(lab)


def test_a_check_in_whose_body_comes_later_takes_the_relay(lab: FilesLab, relay: Origin) -> None:
    with lab.connect_tls() as sock:
        sock.sendall(request(BODY[:5]))
        wait_until("the relay is there", lambda: relay.accepted, WAIT_S)
        sock.sendall(BODY[5:])
        assert read_answer(sock)[1] == b"relayed"
    assert not asks(lab)


def test_when_control_goes_the_connection_ends_without_an_answer(lab: FilesLab) -> None:
    with lab.connect_tls() as sock:
        sock.sendall(request())
        wait_until("control is asked", lambda: asks(lab), WAIT_S)
        lab.feed.drop_clients()
        with pytest.raises((EOFError, ConnectionResetError)):
            read_answer(sock)


def test_control_is_asked_by_so_many_at_one_time_and_not_for_ever(lab: FilesLab) -> None:
    with lab.connect_tls() as first, lab.connect_tls() as second:
        for sock in (first, second):
            sock.sendall(request())
        wait_until("control is asked twice", lambda: len(asks(lab)) == 2, WAIT_S)
        assert lab.ask(request(), tls=True)[0].startswith(b"HTTP/1.1 503 ")
        for sock in (first, second):
            assert sock.recv(1) == b""
    wait_until("it is counted", lambda: lab.feed.counters().get("limit_relay_idle"), WAIT_S)
