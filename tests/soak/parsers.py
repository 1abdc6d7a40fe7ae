"""What must hold for any bytes at the parsers that strangers' bytes come to first. Used by the fuzzer and the replay.

Each function takes what a fuzzer made and raises AssertionError where the parser broke its word; what the parser
refuses in its own way is well. Not crashing is the least of it: a head cut anywhere is unfinished until its end, what
was read is read again alike, and what we pass on is what we read.
"""

import contextlib
import dataclasses
import ipaddress
import itertools
from collections.abc import Callable

from station.forward.request import BadRequest, ProxyRequest, parse_request
from station.forward.response import BadResponse, parse_response
from station.forward.target import TargetError, parse_target
from station.http import target as http_target
from station.http.conditional import is_not_modified, is_range_allowed
from station.http.head import Refusal, Request, find_end, parse_head
from station.http.proxy_header import HEADER_BYTES_MAX, encode_v2, parse
from station.http.ranges import Part, Unsatisfiable, Whole, select_range

SIZE = 1000  # of the file that ranges are asked of
TAG = b'"%s"' % (b"0" * 64)
CUTS = 16  # places a head is cut at


def cuts(end: int) -> itertools.chain[int]:
    """Lengths of some beginnings of `end` bytes, the shortest and the longest among them."""
    return itertools.chain(range(0, end, end // CUTS + 1), range(max(0, end - 4), end))


def request_head(data: bytes) -> None:
    """The files worker's: find_end, parse_head, and what is done with the request next."""
    while data.startswith(b"\r\n"):  # as the connection does
        data = data[2:]
    end = find_end(data)
    if not isinstance(end, int):
        return
    request = parse_head(data[:end])
    if isinstance(request, Refusal):
        assert 400 <= request.status < 600
        assert request.reason.isascii()
        return
    for cut in cuts(end):
        assert find_end(data[:cut]) is None, "refused before it was complete, accepted after"
    for name, value in request.headers.items():
        assert name == name.lower()
        assert not set(value) & set(b"\r\n\0")
    lines = [b"%s %s HTTP/1.%d" % (request.method.encode(), request.target, request.minor)]
    lines += [b"%s: %s" % pair for pair in request.headers.items()]
    again = parse_head(b"\r\n".join(lines) + b"\r\n\r\n")
    # Of two fields of one name, joined, the second may have been empty: then a blank is at the end.
    trimmed = {name: value.strip(b" \t") for name, value in request.headers.items()}
    assert again == dataclasses.replace(request, headers=trimmed)
    judge_request(request)


def judge_request(request: Request) -> None:
    """What the router asks of a request that was read."""
    route = http_target.parse_target(request.target)
    if isinstance(route, http_target.Repo | http_target.Pinned):
        segments = route.path.split(b"/")
        assert b".." not in segments
        assert b"" not in segments
        assert b"\0" not in route.path
    byte_range(request.headers.get(b"range", b""))
    is_not_modified(request.headers, TAG)
    assert is_range_allowed(request.headers, TAG) is (
        request.headers.get(b"if-range") in (None, TAG)
    )


def byte_range(data: bytes) -> None:
    """A Range header over a file of SIZE bytes, and over an empty one."""
    found = select_range(data, SIZE)
    assert isinstance(found, Part | Whole | Unsatisfiable)
    if isinstance(found, Part):
        assert 0 <= found.first <= found.last < SIZE
        assert select_range(b"bytes=%d-%d" % (found.first, found.last), SIZE) == found
    assert not isinstance(select_range(data, 0), Part)


def proxy_header(data: bytes) -> None:
    """The PROXY header, both versions: what a balancer says of a client."""
    try:
        header = parse(data)
    except ValueError:
        return
    if header is None:
        assert len(data) < HEADER_BYTES_MAX
        return
    assert 0 < header.size <= min(len(data), HEADER_BYTES_MAX)
    for cut in cuts(header.size):
        assert parse(data[:cut]) is None
    header.listener()
    with contextlib.suppress(ValueError):
        header.common_name()
    if header.source is not None and header.destination is not None:
        for host, port in (header.source, header.destination):
            assert str(ipaddress.ip_address(host)) == host
            assert 0 <= port <= 65535
        again = parse(encode_v2(header.source, header.destination))
        assert again is not None
        assert (again.source, again.destination) == (header.source, header.destination)


def authority(data: bytes) -> None:
    """The target of a CONNECT."""
    for default in (None, 80):
        try:
            target = parse_target(data, default)
        except TargetError as error:
            assert str(error).isascii()
            continue
        assert 1 <= target.port <= 65535
        assert parse_target(str(target).encode()) == target
        assert target.host == target.host.lower()
        assert not target.host.endswith(".")
        if target.address is not None:
            assert str(target.address) == target.host
            assert not target.is_number


def forward_request(data: bytes) -> None:
    """A CONNECT, or a GET or HEAD in absolute form, and the head that goes on to its server."""
    try:
        request = parse_request(data)
    except BadRequest as error:
        assert 400 <= error.status < 600
        assert error.reason.isascii()
        return
    if request is None:
        return
    for cut in cuts(request.size):
        assert parse_request(data[:cut]) is None, "accepted before it was complete"
    if request.target is not None and not request.is_connect:
        passed_on(request)


def passed_on(request: ProxyRequest) -> None:
    """Our own strict parser reads one request of the same meaning in what is passed on."""
    try:
        head = request.onward("station-fuzz")
    except BadRequest as error:
        assert error.status in (400, 508)
        return
    assert find_end(head) == len(head)
    read = parse_head(head)
    if isinstance(read, Refusal):
        # One field more than we take, or If-Range twice: the next server's matter, and no question of framing.
        assert read.status == 431 or read.reason == "repeated header", read
        return
    assert (read.method, read.target) == (request.method, request.path)
    assert read.headers[b"host"] == str(request.target).removesuffix(":80").encode()
    assert not read.has_body
    assert not read.keep_alive
    assert not read.headers.keys() & {
        b"proxy-authorization",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    }


def forward_response(data: bytes) -> None:
    """The head of an origin's answer, on its way to the client."""
    try:
        response = parse_response(data, "station-fuzz")
    except BadResponse:
        return
    if response is None:
        return
    for cut in cuts(response.size):
        assert parse_response(data[:cut]) is None
    assert 100 <= response.status < 600
    assert response.onward.count(b"\r\n\r\n") == 1
    assert response.onward.endswith(b"\r\nConnection: close\r\n\r\n")
    again = parse_response(response.onward)
    assert again is not None
    assert again.status == response.status


PARSERS: dict[str, Callable[[bytes], None]] = {
    "request_head": request_head,
    "byte_range": byte_range,
    "proxy_header": proxy_header,
    "authority": authority,
    "forward_request": forward_request,
    "forward_response": forward_response,
}
