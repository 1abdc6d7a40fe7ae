"""The proxy worker under too much: slow clients, caps, floods, changes of the rules, draining."""

import contextlib
import signal
import socket
import time

import pytest

from tests.integration.lab import pss_mib
from tests.integration.proxy_harness import (
    Proxy,
    connect,
    echo,
    eventually,
    read_all,
    read_head,
    snapshot,
)


def test_balancer_that_sends_nothing_is_closed_within_its_deadline(proxy: Proxy) -> None:
    proxy.start("*", balancers=["127.0.0.0/8"])
    with proxy.connect() as sock:
        begin = time.monotonic()
        assert sock.recv(1) == b""
        assert time.monotonic() - begin < 6  # three seconds, and the start of the worker


def test_slow_heads_are_closed_and_honest_clients_served_meanwhile(proxy: Proxy) -> None:
    origin = proxy.origin(echo)
    target = f"127.0.0.1:{origin.port}"
    proxy.start(target, limits={"head_s": 3})  # shipped with ten; so long it takes in make accept
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(proxy.connect()) for _ in range(200)]
        for sock in slow:
            sock.sendall(b"CONNECT h:443 HTTP/1.1\r\nX: ")
        begin = time.monotonic()
        with proxy.tunnel(target, b"x") as honest:
            assert honest.recv(1) == b"x"
        assert time.monotonic() - begin < 2
        for sock in slow:
            sock.settimeout(8)
            assert sock.recv(1) == b""
        assert time.monotonic() - begin < 7


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
    proxy.start(target, limits={"tunnels": 3, "tunnels_per_client": 2})
    with proxy.tunnel(target), proxy.tunnel(target):
        assert proxy.status(connect(target)) == 429
        with proxy.tunnel(target, source="127.0.0.2"):
            assert proxy.ask(connect(target), "127.0.0.3").startswith(b"HTTP/1.1 503 ")
            assert proxy.status(b"GET /health/live HTTP/1.1\r\n\r\n") == 200
    eventually(lambda: can_tunnel(proxy, target))


def can_tunnel(proxy: Proxy, target: str) -> bool:
    with proxy.connect() as sock:
        sock.sendall(connect(target))
        return b" 200 " in read_head(sock)


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


def test_refusals_cost_at_most_a_log_line_each_second(proxy: Proxy) -> None:
    proxy.start("*")
    begin = time.monotonic()
    for _ in range(300):
        assert proxy.status(b"\x05\x01") == 400
    lines = [line for line in proxy.log_text().splitlines() if "refused" in line]
    assert len(lines) <= time.monotonic() - begin + 2
    assert "Traceback" not in proxy.log_text()


def test_an_unfinished_head_costs_little_more_than_its_bytes(proxy: Proxy) -> None:
    proxy.start("*")
    assert proxy.process is not None
    count, head = 500, b"CONNECT h:443 HTTP/1.1\r\nX: " + b"y" * 16_000
    assert proxy.status(connect("127.0.0.1:443")) == 403
    before = pss_mib([proxy.process.pid])
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            sock = stack.enter_context(proxy.connect())
            sock.sendall(head)
        time.sleep(0.5)
        each = (pss_mib([proxy.process.pid]) - before) * 1024 / count
    print(f"{each:.1f} KiB each")
    assert each <= 20


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


def test_while_a_station_stops_balancers_are_told_until_its_last_tunnel_has_ended(
    proxy: Proxy,
) -> None:
    origin = proxy.origin(echo)
    target = f"127.0.0.1:{origin.port}"
    health = b"GET /health/ready HTTP/1.1\r\n\r\n"
    proxy.start(snapshot=snapshot(proxy_destinations=(target,)))
    eventually(lambda: proxy.status(health) == 200)
    assert proxy.process is not None and proxy.control is not None
    with proxy.tunnel(target) as sock:
        proxy.control.send(
            snapshot(number=2, is_ready=False, reason="draining", proxy_destinations=(target,))
        )
        eventually(lambda: proxy.status(health) == 404)
        proxy.process.send_signal(signal.SIGTERM)
        eventually(lambda: "worker.draining" in proxy.log_text())
        assert proxy.status(health) == 404
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
    assert proxy.process.wait(5) == 0
    # Whoever else has the listening socket: a client learns at once that nobody will come.
    with pytest.raises(ConnectionRefusedError):
        proxy.connect()
