"""The proxy worker as a process, with real clients and targets on loopback."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lbproxy.proxy_header import encode_v1, encode_v2, parse
from station.model.snapshot import MemberView, Snapshot, to_wire
from station.runtime.frames import encode_frame


def read_all(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(1 << 20), b""))


def read_head(sock: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte:
            break
        data += byte
    return data


class Origin:
    """A listening socket that hands each connection to `serve` in a thread."""

    def __init__(
        self,
        serve: Callable[[socket.socket], None],
        path: Path | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        if path is None:
            self.sock = socket.create_server((host, 0))
        else:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.bind(str(path))
            self.sock.listen()
        self.port = 0 if path else self.sock.getsockname()[1]
        self.accepted = 0
        self._serve = serve
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                conn, _ = self.sock.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._one, args=(conn,), daemon=True).start()

    def _one(self, conn: socket.socket) -> None:
        conn.settimeout(20)
        with conn, contextlib.suppress(OSError):
            self._serve(conn)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        self._thread.join(5)


def echo(conn: socket.socket) -> None:
    while data := conn.recv(65536):
        conn.sendall(data)
    conn.sendall(b"bye")


def http(conn: socket.socket) -> None:
    """Answers with the head it got, and wants to keep the connection."""
    head = read_head(conn)
    conn.sendall(
        b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=60\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(head), head)
    )
    conn.recv(1)


def files(conn: socket.socket) -> None:
    """Plays the files worker: says what the PROXY header told, then echoes."""
    data = conn.recv(4096)
    header = parse(data)
    assert header is not None and header.source is not None
    conn.sendall(
        f"HTTP/1.1 200 OK\r\nX-Listener: {header.listener()}\r\nX-Client: {header.source[0]}\r\n\r\n".encode()
        + data[header.size :]
    )


class Proxy:
    """A proxy worker and its sockets."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None
        self._stack = contextlib.ExitStack()
        self._stack.callback(self.listener.close)
        self.control: Control | None = None

    def origin(self, serve: Callable[[socket.socket], None], path: Path | None = None) -> Origin:
        origin = Origin(serve, path)
        self._stack.callback(origin.close)
        return origin

    def start(self, *destinations: str, snapshot: Snapshot | None = None, **settings: Any) -> None:
        run = self.directory
        if snapshot is not None:
            self.control = Control(run / "feed.sock", snapshot)
            self._stack.callback(self.control.close)
        self.origin(files, run / "files.sock")
        wanted = {
            "name": "proxy-0",
            "feed": str(run / "feed.sock"),
            "files": str(run / "files.sock"),
            "listeners": [{"fd": self.listener.fileno(), "kind": "proxy"}],
            "balancers": [],
            "hosts": ["127.0.0.0/8"],
            "destinations": list(destinations),
            "forward": "",
            "ports": {"proxy": 16080, "http": 17080, "https": 17443},
        } | settings
        self.log = (run / "log").open("w+b")
        self._stack.callback(self.log.close)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "station.serve.proxy_worker"],
            env=os.environ | {"STATION_SETTINGS": json.dumps(wanted)},
            pass_fds=(self.listener.fileno(),),
            stderr=self.log,
        )

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 15, (source, 0))

    def ask(self, request: bytes, source: str = "127.0.0.1") -> bytes:
        with self.connect(source) as sock:
            sock.sendall(request)
            return read_all(sock)

    def status(self, request: bytes) -> int:
        answer = self.ask(request)
        return int(answer.split(b" ", 2)[1]) if answer else 0

    def tunnel(self, target: str, early: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
        sock = self.connect(source)
        sock.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode() + early)
        head = read_head(sock)
        assert b" 200 " in head, head
        return sock

    def log_text(self) -> str:
        self.log.seek(0)
        return self.log.read().decode()

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
        self._stack.close()


class Control:
    """The other end of the feed: sends one snapshot to whoever comes."""

    def __init__(self, path: Path, snapshot: Snapshot) -> None:
        self.conns: list[socket.socket] = []
        self._snapshot = snapshot
        self._origin = Origin(self._serve, path)

    def _serve(self, conn: socket.socket) -> None:
        self.conns.append(conn)
        self.send(self._snapshot)
        while conn.recv(65536):
            pass

    def send(self, snapshot: Snapshot) -> None:
        frame = {"snapshot": to_wire(snapshot), "beat": time.clock_gettime(time.CLOCK_BOOTTIME)}
        for conn in self.conns:
            conn.sendall(encode_frame(frame))

    def close(self) -> None:
        for conn in self.conns:
            with contextlib.suppress(OSError):
                conn.shutdown(socket.SHUT_RDWR)
        self._origin.close()


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    proxy = Proxy(tmp_path)
    try:
        yield proxy
    finally:
        proxy.stop()


def snapshot(**fields: Any) -> Snapshot:
    known: dict[str, Any] = {
        "number": 1,
        "is_ready": True,
        "reason": "",
        "station": "A",
        "hostname": "lb.example",
        "members": (MemberView("A", "192.0.2.11"),),
        "proxy_hosts": ("127.0.0.0/8",),
    }
    return Snapshot(**(known | fields))


def connect(target: str, fields: str = "") -> bytes:
    return f"CONNECT {target} HTTP/1.1\r\n{fields}\r\n".encode()


def test_tunnel_passes_early_bytes_and_keeps_half_close(proxy: Proxy) -> None:
    origin = proxy.origin(echo)
    proxy.start(f"127.0.0.1:{origin.port}")
    with proxy.tunnel(f"127.0.0.1:{origin.port}", b"early ") as sock:
        sock.sendall(b"late ")
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b"early late bye"


def test_name_is_resolved_and_its_exact_rule_allows_any_address(proxy: Proxy) -> None:
    origin = proxy.origin(echo)
    proxy.start(f"localhost:{origin.port}")
    with proxy.tunnel(f"LOCALHOST.:{origin.port}", b"x") as sock:
        assert sock.recv(1) == b"x"


def test_absolute_get_is_passed_on_without_hop_by_hop_fields_and_closed_after_its_answer(
    proxy: Proxy,
) -> None:
    origin = proxy.origin(http)
    proxy.start(f"127.0.0.1:{origin.port}")
    url = f"http://127.0.0.1:{origin.port}/x"
    with proxy.connect() as sock:
        sock.sendall(
            f"GET {url} HTTP/1.1\r\nHost: h\r\nProxy-Authorization: Basic c2VjcmV0\r\n\r\n"
            f"GET {url}/second HTTP/1.1\r\nHost: h\r\n\r\n".encode()
        )
        sock.shutdown(socket.SHUT_WR)
        answer = read_all(sock)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Connection: close" in head and b"eep-" not in head and b"Via: 1.1 station-" in head
    assert body.startswith(b"GET /x HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"c2VjcmV0" not in body and b"second" not in answer
    assert b"c2VjcmV0" not in proxy.log_text().encode()


@pytest.mark.parametrize(
    "target",
    [
        "127.0.0.1:443", "127.1:443", "0x7f.1:443", "2130706433:443", "017700000001:443", "0:443", "0.0.0.0:443",
        "127.000.000.001:443", "localhost:443", "localhost.:443", "[::1]:443", "[::]:443", "[::ffff:127.0.0.1]:443",
        "[::127.0.0.1]:443", "[64:ff9b::7f00:1]:443", "[2002:7f00:1::]:443", "169.254.169.254:80",
        "[fe80::1]:443", "[fd00:ec2::254]:80", "100.100.100.200:80", "224.0.0.1:443", "255.255.255.255:443",
        "[fec0::1]:443", "192.0.0.8:443", "10.0.0.1:443",
    ],
)  # fmt: skip
def test_inner_targets_are_refused_in_every_spelling(proxy: Proxy, target: str) -> None:
    proxy.start("*")
    answer = proxy.ask(connect(target))
    assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert b"text/plain" in answer and b"nosniff" in answer and b"Connection: close" in answer


def test_malformed_requests_are_refused_and_closed(proxy: Proxy) -> None:
    proxy.start("*")
    for target in (
        "h:0",
        "h:65536",
        "h:4294967739",
        "h:+443",
        "h:0443",
        "h:",
        "h",
        "u:p@h:443",
        "h:443:443",
        "/",
    ):
        assert proxy.status(connect(target)) == 400, target
    for fields in (
        "Content-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Host: other:443\r\n",
        "X : y\r\n",
    ):
        assert proxy.status(connect("h:443", fields)) == 400, fields
    for data in (
        b"\x16\x03\x01\x02\x00\x01",
        b"\x05\x01\x00",
        b"PRI * HTTP/2.0\r\n\r\n",
        b"GET /\r\n",
    ):
        assert proxy.status(data) == 400, data
    assert proxy.status(b"POST http://h/ HTTP/1.1\r\n\r\n") == 405
    assert proxy.status(b"A" * 17 * 1024) == 431
    assert proxy.status(connect("h:443", "X: y\r\n" * 101)) == 431


def test_targets_that_are_not_listed_are_refused(proxy: Proxy) -> None:
    proxy.start("example.com")
    for target in (
        "badexample.com:443",
        "example.com:22",
        "example.com.evil.net:443",
        "10.0.0.1:443",
    ):
        assert proxy.status(connect(target)) == 403, target


def test_second_request_after_a_refusal_is_never_answered(proxy: Proxy) -> None:
    origin = proxy.origin(echo)
    proxy.start(f"127.0.0.1:{origin.port}")
    answer = proxy.ask(connect("h:22") + connect(f"127.0.0.1:{origin.port}"))
    assert answer.count(b"HTTP/1.1") == 1
    assert origin.accepted == 0


def test_client_outside_the_ranges_is_closed_without_an_answer(proxy: Proxy) -> None:
    proxy.start("*", hosts=["127.0.0.1/32"])
    assert proxy.status(connect("h:22")) in (403, 502, 504)
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        assert proxy.ask(connect("h:22"), "127.0.0.2") == b""


def test_address_behind_a_balancer_decides_and_its_header_is_required(proxy: Proxy) -> None:
    origin = proxy.origin(echo)
    target = f"127.0.0.1:{origin.port}"
    proxy.start(target, hosts=["10.0.0.0/8"], balancers=["127.0.0.0/8"])
    there = ("192.0.2.1", 16080)
    barred = encode_v2(("11.0.0.1", 1), there) + connect(target)
    assert proxy.status(barred) == 403
    for header in (encode_v1(("10.0.0.1", 1), there), encode_v2(("::ffff:10.0.0.1", 1), there)):
        with proxy.connect() as sock:
            for byte in header + connect(target):
                sock.sendall(bytes([byte]))
            assert b" 200 " in read_head(sock)
    forged = connect(target, "X-Forwarded-For: 10.0.0.1\r\nForwarded: for=10.0.0.1\r\n")
    assert proxy.status(encode_v2(("11.0.0.1", 1), there) + forged) == 403
    for data in (connect(target), b"PROXY TCP4 x\r\n", encode_v2(None, None)[:15] + b"\xff" * 9):
        with contextlib.suppress(ConnectionResetError):
            assert proxy.ask(data) == b""
    health = encode_v2(None, None, local=True) + b"GET /health/live HTTP/1.1\r\n\r\n"
    assert proxy.status(health) == 200
    assert proxy.status(encode_v2(None, None, local=True) + connect(target)) == 403


def test_balancer_that_sends_nothing_is_closed_within_its_deadline(proxy: Proxy) -> None:
    proxy.start("*", balancers=["127.0.0.0/8"])
    with proxy.connect() as sock:
        begin = time.monotonic()
        assert sock.recv(1) == b""
        assert time.monotonic() - begin < 6  # three seconds, and the start of the worker


def test_slow_heads_are_closed_and_honest_clients_served_meanwhile(proxy: Proxy) -> None:
    origin = proxy.origin(echo)
    target = f"127.0.0.1:{origin.port}"
    proxy.start(target)
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(proxy.connect()) for _ in range(200)]
        for sock in slow:
            sock.sendall(b"CONNECT h:443 HTTP/1.1\r\nX: ")
        begin = time.monotonic()
        with proxy.tunnel(target, b"x") as honest:
            assert honest.recv(1) == b"x"
        assert time.monotonic() - begin < 2
        for sock in slow:
            sock.settimeout(14)
            assert sock.recv(1) == b""
        assert time.monotonic() - begin < 13


def test_the_group_itself_is_served_by_the_files_worker_of_this_station(proxy: Proxy) -> None:
    proxy.start(snapshot=snapshot())
    eventually(lambda: proxy.status(b"GET /health/ready HTTP/1.1\r\n\r\n") == 200)
    answer = proxy.ask(b"GET http://lb.example:17080/repo/x HTTP/1.1\r\nHost: y\r\n\r\n")
    assert b"X-Listener: http\r\n" in answer and b"X-Client: 127.0.0.1" in answer
    assert b"GET /repo/x HTTP/1.1\r\nHost: lb.example:17080\r\n" in answer
    with proxy.tunnel("192.0.2.11:17443", b"hello") as sock:
        assert b"X-Listener: https\r\n" in read_all(sock)
    for port in (16080, 17946, 443):
        assert proxy.status(connect(f"lb.example:{port}")) == 403


def test_narrowed_ranges_end_the_tunnels_of_barred_clients_only(proxy: Proxy) -> None:
    origin = proxy.origin(echo)
    target = f"127.0.0.1:{origin.port}"
    proxy.start(snapshot=snapshot(proxy_destinations=(target,)))
    eventually(lambda: proxy.status(b"GET /health/ready HTTP/1.1\r\n\r\n") == 200)
    with proxy.tunnel(target) as one, proxy.tunnel(target, source="127.0.0.2") as two:
        assert proxy.control is not None
        proxy.control.send(
            snapshot(number=2, proxy_destinations=(target,), proxy_hosts=("127.0.0.1/32",))
        )
        two.settimeout(5)
        assert two.recv(1) == b""
        one.sendall(b"x")
        assert one.recv(1) == b"x"


def test_one_client_has_a_cap_of_tunnels_and_all_together_too(proxy: Proxy) -> None:
    origin = proxy.origin(echo)
    target = f"127.0.0.1:{origin.port}"
    proxy.start(target, tunnels=3, tunnels_per_client=2)
    with proxy.tunnel(target), proxy.tunnel(target):
        assert proxy.status(connect(target)) == 429
        with proxy.tunnel(target, source="127.0.0.2"):
            assert proxy.ask(connect(target), "127.0.0.3").startswith(b"HTTP/1.1 503 ")
            assert proxy.status(b"GET /health/live HTTP/1.1\r\n\r\n") == 200
    eventually(lambda: proxy.status(connect("127.0.0.1:1")) == 403)
    with proxy.tunnel(target):
        pass


def test_unreachable_targets_get_their_status(proxy: Proxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    proxy.start(f"127.0.0.1:{port}", "no-such-host.invalid:443")
    assert proxy.status(connect(f"127.0.0.1:{port}")) == 502
    assert proxy.status(connect("no-such-host.invalid:443")) in (502, 504)


def test_slow_reader_stops_a_fast_writer_and_bulk_arrives_whole(proxy: Proxy) -> None:
    sent = []

    def flood(conn: socket.socket) -> None:
        piece = bytes(range(256)) * 4096
        for _ in range(64):
            conn.sendall(piece)
            sent.append(len(piece))

    origin = proxy.origin(flood)
    proxy.start(f"127.0.0.1:{origin.port}")
    with proxy.tunnel(f"127.0.0.1:{origin.port}") as sock:
        time.sleep(0.7)
        assert len(sent) < 40  # what the kernel's buffers take
        assert read_all(sock) == bytes(range(256)) * 4096 * 64


def outer(conn: socket.socket) -> None:
    """An outer proxy: wants credentials, then plays the target."""
    head = read_head(conn)
    if b"Proxy-Authorization: Basic dXNlcjpwYTpzcw==\r\n" not in head:
        conn.sendall(b"HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic\r\n\r\n")
    elif head.startswith(b"CONNECT"):
        conn.sendall(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nhello " + head.split(b" ")[1] + b" ")
        echo(conn)
    else:
        conn.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + head)


def test_forwarding_goes_through_the_outer_proxy_with_our_credentials(proxy: Proxy) -> None:
    origin = proxy.origin(outer)
    proxy.start("example.com", forward=f"http://user:pa%3Ass@127.0.0.1:{origin.port}")
    with proxy.tunnel("www.example.com:443", b"early ") as sock:
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b"hello www.example.com:443 early bye"
    answer = proxy.ask(b"GET http://www.example.com/x HTTP/1.1\r\nHost: y\r\n\r\n")
    assert b"\r\n\r\nGET http://www.example.com/x HTTP/1.1\r\nHost: www.example.com\r\n" in answer
    assert proxy.status(connect("example.net:443")) == 403


def test_outer_proxy_that_refuses_or_loops_is_a_bad_gateway(proxy: Proxy) -> None:
    origin = proxy.origin(outer)
    proxy.start("example.com", forward=f"127.0.0.1:{origin.port}")
    answer = proxy.ask(connect("example.com:443"))
    assert answer.startswith(b"HTTP/1.1 502 ") and b"407" not in answer


def test_proxy_that_is_its_own_outer_proxy_notices(proxy: Proxy) -> None:
    proxy.start("example.com", forward=f"127.0.0.1:{proxy.port}")
    assert proxy.status(connect("example.com:443")) == 502
    assert proxy.status(b"GET http://example.com/ HTTP/1.1\r\n\r\n") == 508


def test_refusals_cost_at_most_a_log_line_each_second(proxy: Proxy) -> None:
    proxy.start("*")
    begin = time.monotonic()
    for _ in range(300):
        assert proxy.status(b"\x05\x01") == 400
    lines = [line for line in proxy.log_text().splitlines() if "refused" in line]
    assert len(lines) <= time.monotonic() - begin + 2
    assert "Traceback" not in proxy.log_text()


def test_drain_lets_tunnels_finish(proxy: Proxy) -> None:
    origin = proxy.origin(echo)
    target = f"127.0.0.1:{origin.port}"
    proxy.start(target)
    assert proxy.process is not None
    with proxy.tunnel(target) as sock:
        proxy.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
    assert proxy.process.wait(5) == 0


def eventually(what: Callable[[], bool], seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "did not come true in time"
        time.sleep(0.05)
