"""The proxy worker: who may go where, and what is passed on."""

import contextlib
import socket

import pytest

from lbproxy.proxy_header import LOCAL
from station.http.proxy_header import encode_v2
from station.model.snapshot import MemberView
from tests.integration.proxy_harness import (
    Proxy,
    connect,
    echo,
    eventually,
    http,
    read_all,
    read_head,
    snapshot,
)


def test_tunnel_passes_early_bytes_and_keeps_half_close(proxy: Proxy) -> None:
    origin = proxy.origin(echo)
    proxy.start(f"127.0.0.1:{origin.port}")
    with proxy.tunnel(f"127.0.0.1:{origin.port}", b"early ") as sock:
        sock.sendall(b"late ")
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b"early late bye"


def access_line(proxy: Proxy) -> str:
    """The only line about what passed."""
    eventually(lambda: "proxy.access" in proxy.log_text())
    (line,) = (line for line in proxy.log_text().splitlines() if "proxy.access" in line)
    return line


def test_each_tunnel_is_one_line_with_all_its_bytes(proxy: Proxy) -> None:
    origin = proxy.origin(echo)
    target = f"127.0.0.1:{origin.port}"
    proxy.start(target)
    with proxy.tunnel(target, b"early") as sock:
        sock.sendall(b"late")
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b"earlylatebye"
    down = len(b"HTTP/1.1 200 Connection established\r\n\r\nearlylatebye")
    line = access_line(proxy)
    assert f"client='127.0.0.1' method='CONNECT' target='{target}' status='200'" in line
    assert f"bytes_up='9' bytes_down='{down}'" in line


def test_an_answer_that_passed_is_one_line_with_its_status_and_bytes(proxy: Proxy) -> None:
    def gone(conn: socket.socket) -> None:
        read_head(conn)
        conn.sendall(b"HTTP/1.1 410 Gone\r\nContent-Length: 4\r\n\r\ngone")

    origin = proxy.origin(gone)
    proxy.start(f"127.0.0.1:{origin.port}")
    answer = proxy.ask(f"GET http://127.0.0.1:{origin.port}/ HTTP/1.1\r\n\r\n".encode())
    assert f"status='410' bytes_up='0' bytes_down='{len(answer)}'" in access_line(proxy)


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


INNER = [
    "127.0.0.1:443", "127.1:443", "0x7f.1:443", "2130706433:443", "017700000001:443", "0:443", "0.0.0.0:443",
    "127.000.000.001:443", "localhost:443", "localhost.:443", "[::1]:443", "[::]:443", "[::ffff:127.0.0.1]:443",
    "[::127.0.0.1]:443", "[64:ff9b::7f00:1]:443", "[2002:7f00:1::]:443", "169.254.169.254:80",
    "[fe80::1]:443", "[fd00:ec2::254]:80", "100.100.100.200:80", "224.0.0.1:443", "255.255.255.255:443",
    "[fec0::1]:443", "192.0.0.8:443", "10.0.0.1:443",
    # The metadata address in what may carry an IPv4 address: mapped, NAT64, 6to4, Teredo.
    "[::ffff:169.254.169.254]:443", "[64:ff9b::a9fe:a9fe]:443", "[2002:a9fe:a9fe::1]:443",
    "[2001:0:a9fe:a9fe::1]:443", "[2001:0:c000:201::5601:5601]:443",
    "[ff02::1]:443", "240.0.0.1:443", "169.254.0.1:443",
]  # fmt: skip


def test_inner_targets_are_refused_in_every_spelling(proxy: Proxy) -> None:
    proxy.start("*")
    for target in INNER:
        answer = proxy.ask(connect(target))
        assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n"), target
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
        "h:" + "9" * 40,
        "h:443 ",
        "http://h:443",
        "[[::1]]:443",
        "[h]:443",
        "h%00:443",
        "h\t:443",
        "h#:443",
        "é.example:443",
        f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 63}:443",
        ":443",
        "",
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


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5,5\r\n",
        b"Content-Length: \r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"X: y\nZ: y\r\n",
        b"X: y\r\n folded\r\n",
        b"X: a\0b\r\n",
        b"X : y\r\n",
    ],
)
def test_a_request_whose_end_two_readers_could_see_in_two_places_is_refused(
    proxy: Proxy, fields: bytes
) -> None:
    origin = proxy.origin(http)
    proxy.start(f"127.0.0.1:{origin.port}")
    body = b"5;a=\nb\r\nhello\r\nFFFFFFFFFFFFFFFFF\r\n"
    url = f"http://127.0.0.1:{origin.port}/".encode()
    assert proxy.status(b"GET " + url + b" HTTP/1.1\r\n" + fields + b"\r\n" + body) == 400
    assert origin.accepted == 0


def test_without_ranges_nobody_is_let_in(proxy: Proxy) -> None:
    proxy.start("*", hosts=[])
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        assert proxy.ask(connect("h:443")) == b""


def test_targets_that_are_not_listed_are_refused(proxy: Proxy) -> None:
    proxy.start("example.com")
    for target in (
        "badexample.com:443",
        "example.com:22",
        "example.com:25",
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
    for header in (
        b"PROXY TCP4 10.0.0.1 192.0.2.1 1 16080\r\n",
        encode_v2(("::ffff:10.0.0.1", 1), there),
    ):
        with proxy.connect() as sock:
            for byte in header + connect(target):
                sock.sendall(bytes([byte]))
            assert b" 200 " in read_head(sock)
    forged = connect(target, "X-Forwarded-For: 10.0.0.1\r\nForwarded: for=10.0.0.1\r\n")
    assert proxy.status(encode_v2(("11.0.0.1", 1), there) + forged) == 403
    for data in (connect(target), b"PROXY TCP4 x\r\n", LOCAL[:15] + b"\xff" * 9):
        with contextlib.suppress(ConnectionResetError):
            assert proxy.ask(data) == b""
    health = LOCAL + b"GET /health/live HTTP/1.1\r\n\r\n"
    assert proxy.status(health) == 200
    assert proxy.status(LOCAL + connect(target)) == 403


def test_the_group_itself_is_served_by_the_files_worker_of_this_station(proxy: Proxy) -> None:
    proxy.start(snapshot=snapshot())
    eventually(lambda: proxy.status(b"GET /health/ready HTTP/1.1\r\n\r\n") == 200)
    answer = proxy.ask(b"GET http://lb.example:17080/repo/x HTTP/1.1\r\nHost: y\r\n\r\n")
    assert b"X-Listener: http\r\n" in answer and b"X-Client: 127.0.0.1" in answer
    assert b"GET /repo/x HTTP/1.1\r\nHost: lb.example:17080\r\n" in answer
    with proxy.tunnel("192.0.2.11:17443", b"hello") as sock:
        assert b"X-Listener: https\r\n" in read_all(sock)


def test_no_other_port_of_a_station_is_reached_even_where_everything_is_allowed(
    proxy: Proxy,
) -> None:
    # One that is public, so that nothing but its being a station's speaks against it.
    members = (MemberView("A", "198.41.0.4"), MemberView("B", "b.example"))
    proxy.start(snapshot=snapshot(members=members, proxy_destinations=("*",)))
    eventually(lambda: proxy.status(b"GET /health/ready HTTP/1.1\r\n\r\n") == 200)
    for host in ("lb.example", "LB.example.", "198.41.0.4", "b.example"):
        for port in (16080, 17946, 17081, 443, 80):
            assert proxy.status(connect(f"{host}:{port}")) == 403, (host, port)


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
