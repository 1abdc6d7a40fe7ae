"""The peers worker as a process: mutual TLS outside, PROXY headers inside."""

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from station.http.proxy_header import parse
from station.peering.keys import Authority, create_authority, issue_peer_leaf, issue_public_leaf
from station.peering.pki import Pki
from tests.integration.proxy_harness import Origin, read_all, read_head

POOL = "GET /pool/" + "a" * 64 + " HTTP/1.1\r\nHost: x\r\n\r\n"


def station(directory: Path, authority: Authority, name: str) -> Pki:
    now = time.time()
    pki = Pki(directory / name)
    public = issue_public_leaf(authority, ["lb.example"], now)
    pki.create(authority, issue_peer_leaf(authority, name, now), public)
    return pki


def playing(name: str) -> Callable[[socket.socket], None]:
    """Answers each head with what it was told, and echoes a body up to its end; files keeps the connection."""

    def serve(conn: socket.socket) -> None:
        data = conn.recv(65536)
        header = parse(data)
        assert header is not None and header.source is not None
        told = f"{name} {header.listener()} {header.common_name()} {header.source[0]}".encode()
        data = data[header.size :]
        while data or name == "files":
            while b"\r\n\r\n" not in data:
                piece = conn.recv(65536)
                if not piece:
                    return
                data += piece
            head, _, data = data.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            while len(data) < length:
                data += conn.recv(65536)
            body = told + data[:length]
            data = data[length:]
            if b"/bulk" in head:
                body = bytes(range(256)) * 65536
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            if name == "control":
                return

    return serve


class Peers:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = create_authority("group", time.time())
        self.own = station(directory, self.authority, "StationA")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.backends = [
            Origin(playing(name), directory / f"{name}.sock") for name in ("files", "control")
        ]
        pki = self.own.directory
        settings = {
            "name": "peers",
            "listeners": [{"fd": self.listener.fileno(), "kind": "peers"}],
            "files": str(directory / "files.sock"),
            "control": str(directory / "control.sock"),
            "tls": {
                "cert": str(pki / "peer.pem"),
                "key": str(pki / "peer.key"),
                "ca": str(pki / "peers-ca.pem"),
            },
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "station.serve.peers_worker"],
            env=os.environ | {"STATION_SETTINGS": json.dumps(settings)},
            pass_fds=(self.listener.fileno(),),
        )

    def connect(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        sock = socket.create_connection(self.listener.getsockname(), 10)
        try:
            return context.wrap_socket(sock, server_hostname="stationa.peer.station")
        except BaseException:
            sock.close()
            raise

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)
        self.listener.close()
        for backend in self.backends:
            backend.close()


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[Peers]:
    peers = Peers(tmp_path)
    try:
        yield peers
    finally:
        peers.close()


@pytest.fixture
def context(peers: Peers) -> ssl.SSLContext:
    return station(peers.directory, peers.authority, "StationB").peer_client_context()


def ask(sock: ssl.SSLSocket, request: str) -> bytes:
    sock.sendall(request.encode())
    head = read_head(sock)
    length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
    body = bytearray()
    while len(body) < length:
        piece = sock.recv(65536)
        assert piece, "cut short"
        body += piece
    return bytes(body)


def test_pool_goes_to_files_and_the_rest_to_control_with_the_peers_name(
    peers: Peers, context: ssl.SSLContext
) -> None:
    with peers.connect(context) as sock:
        assert ask(sock, POOL) == b"files peers StationB 127.0.0.1"
        assert ask(sock, POOL) == b"files peers StationB 127.0.0.1"
        assert peers.backends[0].accepted == 1
        gossip = "POST /gossip HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
        assert ask(sock, gossip) == b"control peers StationB 127.0.0.1hello"
        assert sock.recv(1) == b""


@pytest.mark.parametrize(
    "request_line",
    ["GET /pool/../gossip", "GET /pool/" + "a" * 63, "GET /manifest/s/r", "POST /pool/" + "a" * 64],
)
def test_only_names_of_the_pool_go_to_files(
    peers: Peers, context: ssl.SSLContext, request_line: str
) -> None:
    with peers.connect(context) as sock:
        assert ask(sock, f"{request_line} HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"control")


def test_bulk_passes_in_both_directions(peers: Peers, context: ssl.SSLContext) -> None:
    with peers.connect(context) as sock:
        sock.sendall(POOL.replace("Host: x", "X: /bulk").encode())
        time.sleep(0.5)  # all buffers on the way fill up
        assert ask(sock, "") == bytes(range(256)) * 65536
    with peers.connect(context) as sock:
        body = "z" * 3_000_000
        request = f"POST /gossip HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        assert ask(sock, request).endswith(b"z" * 1000)


def test_head_in_single_bytes_is_routed_like_a_whole_one(
    peers: Peers, context: ssl.SSLContext
) -> None:
    with peers.connect(context) as sock:
        for char in POOL[:-1]:
            sock.sendall(char.encode())
        assert ask(sock, POOL[-1]).startswith(b"files")


def test_strangers_get_no_conversation(peers: Peers, context: ssl.SSLContext) -> None:
    with peers.connect(context) as sock:  # the worker is up
        assert ask(sock, POOL)
    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    nobody.check_hostname, nobody.verify_mode = False, ssl.CERT_NONE
    other = create_authority("other", time.time())
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    stranger.check_hostname, stranger.verify_mode = False, ssl.CERT_NONE
    directory = station(peers.directory / "other", other, "StationB").directory
    stranger.load_cert_chain(directory / "peer.pem", directory / "peer.key")
    public = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    public.check_hostname, public.verify_mode = False, ssl.CERT_NONE
    public.load_cert_chain(peers.own.directory / "public.pem", peers.own.directory / "public.key")
    for context in (nobody, stranger, public):
        with pytest.raises(OSError), peers.connect(context) as sock:
            sock.sendall(POOL.encode())
            assert sock.recv(1) == b"?", "closed without an answer"
    assert peers.backends[0].accepted == 1


def test_plain_text_and_silence_are_closed(peers: Peers, context: ssl.SSLContext) -> None:
    with peers.connect(context) as sock:
        assert ask(sock, POOL)
    with socket.create_connection(peers.listener.getsockname(), 5) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP" not in read_all(plain)


def test_new_certificate_is_taken_without_a_restart(peers: Peers, context: ssl.SSLContext) -> None:
    with peers.connect(context) as old:
        before = old.getpeercert(binary_form=True)
        leaf = issue_peer_leaf(
            peers.authority, "StationA", time.time(), key=peers.own.peer_leaf().key
        )
        (peers.own.directory / "peer.pem").write_text(leaf.chain)
        end = time.monotonic() + 10
        while True:
            with peers.connect(context) as new:
                if new.getpeercert(binary_form=True) != before:
                    break
            assert time.monotonic() < end
            time.sleep(0.3)
        assert ask(old, POOL).startswith(b"files")


def test_drain_waits_for_nobody_who_asks_nothing(peers: Peers, context: ssl.SSLContext) -> None:
    with peers.connect(context) as silent, peers.connect(context) as kept:
        assert ask(kept, POOL)
        peers.process.send_signal(signal.SIGTERM)
        assert peers.process.wait(10) == 0  # of the 20 s that answers have
        assert silent.recv(1) == kept.recv(1) == b""


def test_drain_ends_the_worker(peers: Peers, context: ssl.SSLContext) -> None:
    with peers.connect(context) as sock:
        assert ask(sock, POOL)
        peers.process.send_signal(signal.SIGTERM)
        assert ask(sock, POOL)
    assert peers.process.wait(5) == 0
