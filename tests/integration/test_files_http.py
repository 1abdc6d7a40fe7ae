"""The files worker over HTTP: real process, real sockets, real storage directory."""

import hashlib
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.files_lab import FilesLab, header, read_answer, status

REPOMD = b"<repomd>one</repomd>"
SMALL = random.Random(1).randbytes(8192)
BIG = random.Random(2).randbytes(5 * 1024 * 1024 + 17)
FILES = {
    "repodata/repomd.xml": REPOMD,
    "repodata/repomd.xml.asc": b"signature one",
    "Packages/s/small-1.rpm": SMALL,
    "Packages/b/big-1.rpm": BIG,
    "Packages/e/empty.rpm": b"",
    "Packages/s/small-1.rpm.gz": b"what a server that swaps siblings in would send",
    "Packages/s/small-1.rpm.br": b"the same for another coding",
}
BASE = "/repo/ol9_base/"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FilesLab]:
    with FilesLab(tmp_path_factory.mktemp("files")) as lab:
        lab.publish("ol9_base", lab.storage.add("ol9_base", FILES), key="KEY TEXT")
        yield lab


@pytest.mark.parametrize("path", FILES)
def test_every_file_is_served_byte_for_byte_with_its_sha256_as_tag(
    lab: FilesLab, path: str
) -> None:
    head, body = lab.get(BASE + path)
    assert status(head) == 200
    assert body == FILES[path]
    assert header(head, "ETag") == f'"{hashlib.sha256(body).hexdigest()}"'
    assert header(head, "Last-Modified") == "Tue, 14 Nov 2023 22:13:20 GMT"


def test_head_says_what_get_would_say(lab: FilesLab) -> None:
    head, body = lab.get(BASE + "Packages/b/big-1.rpm", method="HEAD")
    assert (status(head), body) == (200, b"")
    assert header(head, "Content-Length") == str(len(BIG))
    assert header(head, "Content-Type") == "application/x-rpm"


def test_a_copy_that_is_still_right_is_answered_with_304(lab: FilesLab) -> None:
    tag = f'"{hashlib.sha256(SMALL).hexdigest()}"'
    head, body = lab.get(BASE + "Packages/s/small-1.rpm", f"If-None-Match: {tag}")
    assert (status(head), body) == (304, b"")


@pytest.mark.parametrize(
    ("wanted", "code", "expected"),
    [
        ("bytes=0-0", 206, BIG[:1]),
        ("bytes=100-", 206, BIG[100:]),
        ("bytes=-10", 206, BIG[-10:]),
        ("bytes=5-5242890", 206, BIG[5:5242891]),
        ("bytes=0-1,5-6", 200, BIG),
        ("lines=1-2", 200, BIG),
    ],
)
def test_a_range_gets_exactly_its_bytes(
    lab: FilesLab, wanted: str, code: int, expected: bytes
) -> None:
    head, body = lab.get(BASE + "Packages/b/big-1.rpm", f"Range: {wanted}")
    assert status(head) == code
    assert body == expected


def test_a_range_beyond_the_end_is_416_with_the_length(lab: FilesLab) -> None:
    head, _ = lab.get(BASE + "Packages/b/big-1.rpm", f"Range: bytes={len(BIG)}-")
    assert status(head) == 416
    assert header(head, "Content-Range") == f"bytes */{len(BIG)}"


def test_if_range_with_another_tag_gets_the_whole(lab: FilesLab) -> None:
    for condition in (
        '"other"',
        f'W/"{hashlib.sha256(SMALL).hexdigest()}"',
        "Tue, 14 Nov 2023 22:13:20 GMT",
    ):
        head, body = lab.get(
            BASE + "Packages/s/small-1.rpm", "Range: bytes=0-9", f"If-Range: {condition}"
        )
        assert (status(head), body) == (200, SMALL)
    tag = f'"{hashlib.sha256(SMALL).hexdigest()}"'
    head, body = lab.get(BASE + "Packages/s/small-1.rpm", "Range: bytes=0-9", f"If-Range: {tag}")
    assert (status(head), body) == (206, SMALL[:10])


def test_pipelined_requests_are_answered_in_order(lab: FilesLab) -> None:
    paths = ["Packages/s/small-1.rpm", "Packages/b/big-1.rpm", "repodata/repomd.xml"] * 4
    with lab.connect() as sock:
        sock.sendall(
            b"".join(f"GET {BASE}{path} HTTP/1.1\r\nHost: h\r\n\r\n".encode() for path in paths)
        )
        for path in paths:
            assert read_answer(sock)[1] == FILES[path]


def test_ten_thousand_pipelined_requests_are_all_answered(lab: FilesLab) -> None:
    one = f"GET {BASE}repodata/repomd.xml HTTP/1.1\r\nHost: h\r\n\r\n".encode()
    count, received = 10_000, 0
    with lab.connect(timeout=20) as sock:
        sock.setblocking(False)
        out = memoryview(one * count)
        answers = 0
        import select

        tail = b""
        while answers < count:
            readable, writable, _ = select.select([sock], [sock] if out else [], [], 10)
            assert readable or writable
            if writable:
                out = out[sock.send(out[:65536]) :]
            if readable:
                data = tail + sock.recv(1 << 20)
                received += len(data)
                answers += data.count(REPOMD)
                tail = data[-len(REPOMD) + 1 :]
    assert answers == count


def test_a_head_in_single_bytes_is_answered(lab: FilesLab) -> None:
    with lab.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in f"GET {BASE}repodata/repomd.xml HTTP/1.1\r\nHost: h\r\n\r\n".encode():
            sock.sendall(bytes([byte]))
        assert read_answer(sock)[1] == REPOMD


def test_a_path_in_no_manifest_is_404_and_the_end_of_the_connection(lab: FilesLab) -> None:
    with lab.connect() as sock:
        sock.sendall(f"GET {BASE}Packages/none.rpm HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        head, _ = read_answer(sock)
        assert (status(head), header(head, "Connection")) == (404, "close")
        assert sock.recv(1) == b""


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("/repo/ol9_base/../../etc/passwd", 400),
        ("/repo/ol9_base/%2e%2e/x", 400),
        ("/repo/ol9_base/..%2fx", 400),
        ("/repo/ol9_base//etc/passwd", 404),
        ("/repo/ol9_base/%2fetc", 404),
        ("/repo/ol9_base/a%00b", 400),
        ("/repo/ol9_base/%ff", 404),
        ("/repo/ol9_base/%c0%ae%c0%ae/x", 404),
        ("/repo/ol9_base/%252e%252e/x", 404),
        ("/repo/ol9_base/..\\x", 404),
        ("/repo/.station/x", 404),
        ("/repo/ol9_base/" + "a" * 6000, 404),
        ("/repo/ol9_base/" + "/".join("a" * 1000), 404),
        ("/pool/" + "a" * 64, 404),
    ],
)
def test_no_target_leads_out_of_the_manifests(lab: FilesLab, target: str, code: int) -> None:
    assert status(lab.get(target)[0]) == code


@pytest.mark.parametrize(
    ("request_bytes", "code"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 413),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (b"PUT /repo/ol9_base/x HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 101 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 17000 + b"\r\n\r\n", 431),
        (b"G" * 17000, 431),
    ],
)
def test_a_malformed_request_is_refused_and_its_connection_closed(
    lab: FilesLab, request_bytes: bytes, code: int
) -> None:
    with lab.connect() as sock:
        sock.sendall(request_bytes)
        head, _ = read_answer(sock)
        assert (status(head), header(head, "Connection")) == (code, "close")
        assert sock.recv(1) == b""


def test_accept_encoding_never_changes_the_bytes(lab: FilesLab) -> None:
    for suffix in ("", ".gz", ".br"):
        path = f"Packages/s/small-1.rpm{suffix}"
        head, body = lab.get(BASE + path, "Accept-Encoding: gzip, br")
        assert (status(head), body) == (200, FILES[path])
        assert header(head, "Content-Encoding") is None


def test_mirrorlist_names_the_balancer_first_and_pins_the_live_revision(lab: FilesLab) -> None:
    head, body = lab.get("/mirrorlist/ol9_base/web")
    assert status(head) == 200
    lines = body.decode().splitlines()
    assert lines[0].startswith("http://lb.example.com:17080/repo/ol9_base/@")
    assert lines[1].startswith("http://127.0.0.11:17080/repo/ol9_base/@")
    path = "/" + lines[0].split("/", 3)[3]
    assert lab.get(path + "repodata/repomd.xml")[1] == REPOMD
    assert lab.get(path + "Packages/b/big-1.rpm")[1] == BIG


def test_metalink_carries_the_digest_of_repomd(lab: FilesLab) -> None:
    body = lab.get("/metalink/ol9_base")[1].decode()
    assert hashlib.sha256(REPOMD).hexdigest() in body


def test_pages_and_keys_are_there_for_people(lab: FilesLab) -> None:
    assert b"ol9_base" in lab.get("/")[1]
    assert b"repomd.xml" in lab.get(BASE)[1]
    assert lab.get("/keys/ol9_base")[1] == b"KEY TEXT"
    assert lab.get("/health/live")[1] == b"ok\n"


def test_a_download_goes_on_from_where_it_stopped(lab: FilesLab, tmp_path: Path) -> None:
    with lab.connect() as sock:
        sock.sendall(f"GET {BASE}Packages/b/big-1.rpm HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        first = sock.recv(1_000_000).partition(b"\r\n\r\n")[2]
    tag = f'"{hashlib.sha256(BIG).hexdigest()}"'
    head, rest = lab.get(
        BASE + "Packages/b/big-1.rpm", f"Range: bytes={len(first)}-", f"If-Range: {tag}"
    )
    assert status(head) == 206
    assert first + rest == BIG
