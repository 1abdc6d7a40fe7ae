"""Bad clients by the hundred at the limits as they are shipped, each misdeed at full length."""

import contextlib
import os
import resource
import shutil
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from station.serve.limits import Limits
from tests.integration.abuse import MALFORMED, MODES, besiege, flood
from tests.integration.files_lab import FilesLab
from tests.integration.lab import wait_until
from tests.integration.load import Load
from tests.integration.proxy_harness import Proxy, http, read_head
from tests.integration.test_files_limits import certificate

SMALL = "/repo/demo/repodata/repomd.xml"
BIG = "/repo/demo/big.rpm"
CONNECTIONS = 500
FLOOD_S = 10
HONEST_P99_S = 1.0
RATE_MIN = 2000.0
TUNNELS_ASKED = 5000

# Until the last is ended, and 2 s more: a head has 10 s; a reader has 60 s from when the kernel's buffers are full,
# which is seen 60 s after the beginning.
ENDED_S = {"slow headers": 12, "slow body": 12, "ranges": 12, "slow read": 125}

pytestmark = [
    pytest.mark.accept,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not all(map(shutil.which, ("slowhttptest", "wrk"))), reason="slowhttptest and wrk"
    ),
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FilesLab]:
    directory = tmp_path_factory.mktemp("abuse")
    with FilesLab(directory, tls=certificate(directory, "abuse")) as lab:
        files = {"repodata/repomd.xml": b"x" * 1000, "big.rpm": os.urandom(5_000_000)}
        lab.publish("demo", lab.storage.add("demo", files))
        yield lab


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    proxy = Proxy(tmp_path)
    try:
        yield proxy
    finally:
        proxy.stop()


def judge(honest: Load, what: str) -> None:
    """Nobody was refused, and 99 of 100 were answered within a second."""
    print(f"{what}: honest p99 {honest.percentile(0.99):.3f} s of {honest.count} requests")
    assert not honest.failures
    assert honest.count > 100
    assert honest.percentile(0.99) <= HONEST_P99_S


def open_now(lab: FilesLab) -> int:
    """Connections that the worker has, as it tells control."""
    return lab.feed.counters().get("connections", 0)


@pytest.mark.parametrize("mode", MODES)
def test_slow_clients_of_each_mode_are_ended(lab: FilesLab, mode: str) -> None:
    url, ends = f"http://127.0.0.1:{lab.http}", time.monotonic() + ENDED_S[mode]
    with Load([url + SMALL], threads=2) as honest:
        siege = besiege(url + BIG, mode, connections=CONNECTIONS, at_most_s=ENDED_S[mode])
        wait_until("all ended", lambda: open_now(lab) <= 4, max(3.0, ends - time.monotonic()))
    judge(honest, f"{mode} by {CONNECTIONS}, over after {siege.seconds} s")


@pytest.mark.parametrize("first", [b"", b"\x16\x03\x01\x02\x00\x01\x00"])
@pytest.mark.parametrize("is_tls", [False, True])
def test_those_who_say_nothing_or_half_a_hello_are_ended(
    lab: FilesLab, first: bytes, is_tls: bool
) -> None:
    port = lab.https if is_tls else lab.http
    with contextlib.ExitStack() as stack, Load([f"http://127.0.0.1:{lab.http}{SMALL}"]) as honest:
        begun = time.monotonic()
        for _ in range(CONNECTIONS):
            sock = socket.create_connection(("127.0.0.1", port), timeout=5)
            stack.enter_context(sock)
            sock.sendall(first)
        wait_until("all are in", lambda: open_now(lab) >= CONNECTIONS, 5.0)
        wait_until("all ended", lambda: open_now(lab) <= 8, 13.0)
        took = time.monotonic() - begun
    judge(honest, f"{CONNECTIONS} that sent {len(first)} bytes, over after {took:.1f} s")


@pytest.mark.alone
@pytest.mark.parametrize("how", MALFORMED)
def test_malformed_requests_cost_at_most_a_log_line_each_second(
    lab: FilesLab, tmp_path: Path, how: str
) -> None:
    url, before = f"http://127.0.0.1:{lab.http}", len(lab.log.read_text().splitlines())
    with Load([url + SMALL], threads=2) as honest:
        rate = flood(url + BIG, how, tmp_path, seconds=FLOOD_S)
    lines = len(lab.log.read_text().splitlines()) - before
    judge(honest, f"{how}, {rate:.0f} a second, {lines} lines in {FLOOD_S} s")
    assert rate >= RATE_MIN
    assert lines <= FLOOD_S


@pytest.mark.alone
def test_malformed_requests_to_the_proxy_cost_at_most_a_log_line_each_second(
    proxy: Proxy, tmp_path: Path
) -> None:
    proxy.start("*")
    with proxy.connect():
        rate = flood(f"http://127.0.0.1:{proxy.port}/", "two hosts", tmp_path, seconds=FLOOD_S)
    lines = proxy.log_text().splitlines()
    print(f"{rate:.0f} refused requests a second, {len(lines)} lines in {FLOOD_S} s")
    assert rate >= RATE_MIN
    assert len(lines) <= FLOOD_S + 3  # and those of its start
    assert "Traceback" not in proxy.log_text()


def test_dripping_heads_at_the_proxy_are_ended_and_tunnels_set_up_meanwhile(proxy: Proxy) -> None:
    origin = proxy.origin(http)
    target = f"127.0.0.1:{origin.port}"
    proxy.start(target)
    waits: list[float] = []
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(proxy.connect()) for _ in range(CONNECTIONS)]
        for sock in slow:
            sock.sendall(f"CONNECT {target} HTTP/1.1\r\nX: ".encode())
        begun = drip_at = time.monotonic()
        while time.monotonic() < begun + 12:
            if time.monotonic() >= drip_at:
                drip_at += 5
                for sock in slow:
                    with contextlib.suppress(OSError):
                        sock.send(b"y")
            asked = time.monotonic()
            with proxy.connect() as honest:
                honest.sendall(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
                assert b" 200 " in read_head(honest)
            waits.append(time.monotonic() - asked)
            time.sleep(0.02)
        for sock in slow:
            sock.settimeout(0.1)
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(1) == b""
    p99 = sorted(waits)[int(len(waits) * 0.99)]
    print(f"{len(waits)} honest tunnels, p99 {p99:.3f} s")
    assert p99 <= HONEST_P99_S


class Sink:
    """Accepts whatever comes, and keeps it."""

    def __init__(self) -> None:
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.kept: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.kept.append(self.sock.accept()[0])

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        for sock in [self.sock, *self.kept]:
            sock.close()


@pytest.fixture
def descriptors() -> Iterator[None]:
    """As many as this host allows: each tunnel has two ends here."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("descriptors")
def test_who_wants_5000_tunnels_has_its_share_and_all_together_have_no_more_than_there_are(
    proxy: Proxy,
) -> None:
    limits = Limits()
    with contextlib.closing(Sink()) as sink, contextlib.ExitStack() as stack:
        target = f"127.0.0.1:{sink.sock.getsockname()[1]}"
        proxy.start(target)

        def ask(source: str) -> int:
            """The status; a tunnel that is had is kept."""
            sock = stack.enter_context(proxy.connect(source))
            sock.sendall(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
            status = int(read_head(sock).split(b" ")[1])
            if status != 200:
                sock.close()
            return status

        greedy = Counter(ask("127.0.0.2") for _ in range(TUNNELS_ASKED))
        assert greedy == {
            200: limits.tunnels_per_client,
            429: TUNNELS_ASKED - limits.tunnels_per_client,
        }
        begun = time.monotonic()
        assert ask("127.0.0.3") == 200
        took, total, clients = time.monotonic() - begun, limits.tunnels_per_client + 1, 3
        statuses = Counter[int]()
        while 503 not in statuses:
            clients += 1
            statuses += Counter(ask(f"127.0.0.{clients}") for _ in range(limits.tunnels_per_client))
            assert clients < 30
        total += statuses[200]
        assert proxy.status(b"GET /health/live HTTP/1.1\r\n\r\n") == 200
    print(
        f"{greedy[200]} of {TUNNELS_ASKED} for one client, then another's after {took:.3f} s; {total} for {clients} "
        f"clients, then {statuses[503]} times 503"
    )
    assert total == limits.tunnels
