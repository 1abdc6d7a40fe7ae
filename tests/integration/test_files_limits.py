"""Every limit of the files worker, hit on the wire; TLS and the PROXY header on real sockets."""

import hashlib
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lbproxy.proxy_header import LOCAL
from station.http.proxy_header import TLV_LISTENER, encode_v2, parse
from tests.integration.files_lab import FilesLab, header, read_answer, status

SOURCE = "ol9_base"
BIG = os.urandom(30_000_000)
FILES = {"repodata/repomd.xml": b"repomd", "big.rpm": BIG, "small.rpm": os.urandom(9000)}
REPOMD = f"/repo/{SOURCE}/repodata/repomd.xml"
ASK = f"GET {REPOMD} HTTP/1.1\r\nHost: h\r\n\r\n".encode()
CLIENT, HERE = ("192.0.2.7", 4711), ("192.0.2.1", 17080)
V1 = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 17080\r\n"


def certificate(directory: Path, name: str) -> tuple[Path, Path]:
    cert, key = directory / f"{name}.pem", directory / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", f"/CN={name}"],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


def publish(lab: FilesLab) -> None:
    lab.publish(SOURCE, lab.storage.add(SOURCE, FILES))


def wait_for(what: Callable[[], object], seconds: float = 5.0) -> None:
    ends = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < ends
        time.sleep(0.02)


def is_closed_within(sock: socket.socket, seconds: float) -> bool:
    sock.settimeout(seconds)
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


@pytest.fixture(scope="module")
def tls_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FilesLab]:
    directory = tmp_path_factory.mktemp("tls")
    with FilesLab(directory, tls=certificate(directory, "one"), limits={"handshake_s": 1}) as lab:
        publish(lab)
        yield lab


def test_https_serves_small_and_big_files_byte_for_byte(tls_lab: FilesLab) -> None:
    for path, data in FILES.items():
        head, body = tls_lab.get(f"/repo/{SOURCE}/{path}", tls=True)
        assert status(head) == 200
        assert body == data


def test_https_pipelined_and_in_one_record_is_answered_in_order(tls_lab: FilesLab) -> None:
    with tls_lab.connect_tls() as sock:
        sock.sendall(ASK * 500)
        for _ in range(500):
            assert read_answer(sock)[1] == b"repomd"


def test_mirrorlists_over_https_name_https(tls_lab: FilesLab) -> None:
    body = tls_lab.get(f"/mirrorlist/{SOURCE}", tls=True)[1]
    assert body.startswith(b"https://lb.example.com:17443/repo/")


@pytest.mark.parametrize(
    ("version", "works"), [("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)]
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls_1_2_and_up_is_spoken(tls_lab: FilesLab, version: str, works: bool) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    with socket.create_connection(("127.0.0.1", tls_lab.https), timeout=5) as raw:
        if works:
            with context.wrap_socket(raw) as sock:
                sock.sendall(ASK)
                assert read_answer(sock)[1] == b"repomd"
        else:
            with pytest.raises(ssl.SSLError):
                context.wrap_socket(raw)


def test_an_unfinished_handshake_is_ended(tls_lab: FilesLab) -> None:
    with socket.create_connection(("127.0.0.1", tls_lab.https)) as sock:
        sock.sendall(b"\x16\x03\x01\x02\x00")
        assert is_closed_within(sock, 3)
    wait_for(lambda: tls_lab.feed.counters().get("limit_handshake"))


def test_plain_http_on_the_https_port_ends_the_connection(tls_lab: FilesLab) -> None:
    with socket.create_connection(("127.0.0.1", tls_lab.https)) as sock:
        sock.sendall(ASK)
        assert is_closed_within(sock, 1) or True
    assert tls_lab.get(REPOMD, tls=True)[1] == b"repomd"


def served_certificate(lab: FilesLab) -> bytes:
    with lab.connect_tls() as sock:
        return sock.getpeercert(binary_form=True) or b""


def test_a_new_certificate_is_taken_and_a_bad_one_leaves_the_old(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "used")
    with FilesLab(tmp_path, tls=(cert, key)) as lab:
        publish(lab)
        before = served_certificate(lab)
        with lab.connect_tls() as kept:
            other = certificate(tmp_path, "other")
            cert.write_bytes(other[0].read_bytes())
            lab.process.send_signal(signal.SIGHUP)  # the key does not fit yet
            wait_for(lambda: lab.feed.counters().get("tls_reload_failed"))
            assert served_certificate(lab) == before
            key.write_bytes(other[1].read_bytes())
            lab.process.send_signal(signal.SIGHUP)
            wait_for(lambda: served_certificate(lab) != before)
            kept.sendall(ASK)
            assert read_answer(kept)[1] == b"repomd"


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FilesLab]:
    limits = {"head_s": 1, "idle_s": 1, "rate_s": 1, "rate_bytes": 100_000, "requests": 5, "held": 2, "linger_s": 1,
              "stale_s": 30}  # fmt: skip
    with FilesLab(tmp_path_factory.mktemp("strict"), limits=limits) as lab:
        publish(lab)
        yield lab


def hits(lab: FilesLab, limit: str) -> int:
    return lab.feed.counters().get(f"limit_{limit}", 0)


@pytest.mark.parametrize("first", [b"", b"GET / HTTP/1.1\r\n"])
def test_a_head_that_does_not_come_is_ended(strict: FilesLab, first: bytes) -> None:
    before = hits(strict, "head")
    with strict.connect() as sock:
        sock.sendall(first)
        assert is_closed_within(sock, 3)
    wait_for(lambda: hits(strict, "head") > before)


def test_a_dripping_head_is_ended_whatever_drips(strict: FilesLab) -> None:
    with strict.connect() as sock:
        started = time.monotonic()
        try:
            for byte in b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"y" * 100:
                sock.sendall(bytes([byte]))
                time.sleep(0.05)
        except OSError:
            pass
        assert time.monotonic() - started < 4


def test_an_idle_connection_is_ended(strict: FilesLab) -> None:
    with strict.connect() as sock:
        sock.sendall(ASK)
        read_answer(sock)
        assert is_closed_within(sock, 3)


def test_a_reader_slower_than_the_minimum_rate_is_reset(strict: FilesLab) -> None:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", strict.http))
        sock.sendall(f"GET /repo/{SOURCE}/big.rpm HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        wait_for(lambda: hits(strict, "minimum_rate"), 8)
        sock.settimeout(5)
        with pytest.raises(ConnectionResetError):
            while sock.recv(65536):
                pass


def test_the_last_request_of_a_connection_says_close(strict: FilesLab) -> None:
    with strict.connect() as sock:
        answers = []
        for _ in range(5):
            sock.sendall(ASK)
            answers.append(header(read_answer(sock)[0], "Connection"))
        assert answers == ["keep-alive"] * 4 + ["close"]
        assert sock.recv(1) == b""
    wait_for(lambda: hits(strict, "requests"))


def test_held_requests_are_bounded(strict: FilesLab) -> None:
    unknown = hashlib.sha256(b"?").hexdigest()
    ask = f"GET /repo/{SOURCE}/@{unknown}/repodata/repomd.xml HTTP/1.1\r\nHost: h\r\n\r\n".encode()
    socks = [strict.connect() for _ in range(3)]
    try:
        for sock in socks:
            sock.sendall(ask)
        wait_for(lambda: hits(strict, "held"))
        assert any(is_closed_within(sock, 0.3) for sock in socks)
    finally:
        for sock in socks:
            sock.close()


def test_at_the_cap_health_is_answered_and_others_wait_for_room(tmp_path: Path) -> None:
    limits = {"connections": 3, "waiting": 3, "waiting_s": 5}
    with FilesLab(tmp_path, limits=limits) as lab:
        publish(lab)
        socks = [lab.connect() for _ in range(3)]
        try:
            for sock in socks:
                sock.sendall(ASK)
                read_answer(sock)
            assert lab.get("/health/ready")[1] == b"ok\n"
            with lab.connect() as waiting:
                waiting.sendall(ASK)
                waiting.settimeout(0.3)
                with pytest.raises(TimeoutError):
                    waiting.recv(1)
                socks.pop().close()
                waiting.settimeout(5)
                assert read_answer(waiting)[1] == b"repomd"
                wait_for(lambda: hits(lab, "connections"))
        finally:
            for sock in socks:
                sock.close()


def test_beyond_cap_and_waiting_the_backlog_holds_and_nobody_is_refused(tmp_path: Path) -> None:
    with FilesLab(tmp_path, limits={"connections": 4, "waiting": 4, "idle_s": 1}) as lab:
        publish(lab)
        answers: list[bytes] = []

        def client() -> None:
            with lab.connect(timeout=20) as sock:
                for _ in range(3):
                    sock.sendall(ASK.replace(b"Host: h", b"Host: h\r\nConnection: close"))
                    answers.append(read_answer(sock)[1])
                    return

        threads = [threading.Thread(target=client) for _ in range(60)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [b"repomd"] * 60


def test_few_descriptors_lower_the_cap_instead_of_failing_accept(tmp_path: Path) -> None:
    with FilesLab(tmp_path, command=("prlimit", "--nofile=256")) as lab:
        publish(lab)
        socks = [lab.connect() for _ in range(300)]
        try:
            for sock in socks[:20]:
                sock.sendall(ASK)
                assert read_answer(sock)[1] == b"repomd"
        finally:
            for sock in socks:
                sock.close()
        wait_for(lambda: lab.get(REPOMD)[1] == b"repomd", 2)
        assert not hits(lab, "descriptors")


@pytest.fixture(scope="module")
def balanced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FilesLab]:
    directory = tmp_path_factory.mktemp("balanced")
    with FilesLab(
        directory,
        balancers=["127.0.0.0/8"],
        tls=certificate(directory, "lb"),
        limits={"head_s": 5, "preface_s": 1},
    ) as lab:
        lab.preface = encode_v2(CLIENT, HERE)
        publish(lab)
        yield lab


@pytest.mark.parametrize(
    "preface",
    [
        V1,
        b"PROXY UNKNOWN\r\n",
        encode_v2(CLIENT, HERE),
        LOCAL,
    ],
)
@pytest.mark.parametrize("by_bytes", [False, True])
def test_a_balancers_header_is_read_in_any_pieces(
    balanced: FilesLab, preface: bytes, by_bytes: bool
) -> None:
    with balanced.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in [bytes([b]) for b in preface] if by_bytes else [preface]:
            sock.sendall(piece)
        sock.sendall(ASK)
        assert read_answer(sock)[1] == b"repomd"


def test_a_balancers_header_comes_before_the_handshake(balanced: FilesLab) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", balanced.https), timeout=5) as raw:
        raw.sendall(encode_v2(CLIENT, HERE))
        with context.wrap_socket(raw) as sock:
            sock.sendall(ASK)
            assert read_answer(sock)[1] == b"repomd"


@pytest.mark.parametrize(
    "first",
    [
        ASK,
        b"PROXY TCP4 nonsense\r\n" + ASK,
        b"\r\n\r\n\0\r\nQUIX\n" + ASK,
        encode_v2(CLIENT, HERE)[:14] + b"\0\x0f" + bytes(12) + b"\x04\0\x09" + ASK,  # TLV overrun
        encode_v2(CLIENT, HERE)[:14] + b"\0\x04" + bytes(4) + ASK,  # no room for its addresses
    ],
)
def test_a_balancer_without_a_right_header_is_cut_off(balanced: FilesLab, first: bytes) -> None:
    with balanced.connect() as sock:
        sock.sendall(first)
        assert is_closed_within(sock, 3)


@pytest.mark.parametrize("first", [b"", V1[:10]])
def test_a_balancer_that_does_not_say_for_whom_is_cut_off_soon(
    balanced: FilesLab, first: bytes
) -> None:
    with balanced.connect() as sock:
        sock.sendall(first)
        assert is_closed_within(sock, 2)
    wait_for(lambda: hits(balanced, "head"))


def test_a_header_from_anybody_else_is_no_request(strict: FilesLab) -> None:
    with strict.connect() as sock:
        sock.sendall(V1 + ASK)
        assert status(read_answer(sock)[0]) == 400


def ask_unix(lab: FilesLab, path: str, listener: bytes) -> tuple[bytes, bytes]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        sock.connect(str(lab.unix))
        sock.sendall(encode_v2(CLIENT, HERE, {TLV_LISTENER: listener}))
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        return read_answer(sock)


def test_peers_get_objects_of_the_pool_and_nobody_else_does(tls_lab: FilesLab) -> None:
    path = f"/pool/{hashlib.sha256(BIG).hexdigest()}"
    assert ask_unix(tls_lab, path, b"peers")[1] == BIG
    assert status(ask_unix(tls_lab, path, b"proxy")[0]) == 404
    assert status(ask_unix(tls_lab, f"/pool/{'0' * 64}", b"peers")[0]) == 404


def test_the_unix_listener_speaks_tls_to_who_begins_with_it(tls_lab: FilesLab) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(5)
        raw.connect(str(tls_lab.unix))
        raw.sendall(encode_v2(CLIENT, HERE, {TLV_LISTENER: b"proxy"}))
        with context.wrap_socket(raw) as sock:
            sock.sendall(f"GET /mirrorlist/{SOURCE} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            assert read_answer(sock)[1].startswith(b"https://")


def control(lab: FilesLab, received: list[bytes]) -> Callable[[], None]:
    """A control that answers one request after it has read its head and body."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(lab.directory / "http.sock"))
    listener.listen()

    def serve() -> None:
        with listener:
            sock, _ = listener.accept()
            with sock:
                data = b""
                while not data.endswith(b"the body"):
                    data += sock.recv(65536)
                received.append(data)
                sock.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\nConnection: close\r\n\r\n"
                    + b"x" * 3000000
                )

    thread = threading.Thread(target=serve)
    thread.start()
    return thread.join


@pytest.mark.parametrize("tls", [False, True])
def test_what_is_not_ours_goes_to_control_with_the_clients_address(
    tmp_path: Path, tls: bool
) -> None:
    with FilesLab(tmp_path, tls=certificate(tmp_path, "relay")) as lab:
        publish(lab)
        received: list[bytes] = []
        join = control(lab, received)
        request = b"POST /instances HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\n"
        with lab.connect_tls() if tls else lab.connect() as sock:
            sock.sendall(request)
            time.sleep(0.1)
            sock.sendall(b"the body")
            assert read_answer(sock)[1] == b"x" * 3000000
        join()
        found = parse(received[0])
        assert found is not None
        assert found.source is not None
        assert found.source[0] == "127.0.0.1"
        assert found.listener() == ("https" if tls else "http")
        assert received[0][found.size :] == request + b"the body"


def test_without_control_the_rest_is_closed_and_files_are_served(strict: FilesLab) -> None:
    with strict.connect(timeout=10) as sock:
        sock.sendall(b"GET /instances HTTP/1.1\r\nHost: h\r\n\r\n")
        assert strict.get(f"/repo/{SOURCE}/small.rpm")[1] == FILES["small.rpm"]
        assert is_closed_within(sock, 8)


def test_malformed_requests_are_not_logged_one_by_one(strict: FilesLab) -> None:
    before = strict.log.stat().st_size
    for _ in range(300):
        with strict.connect() as sock:
            sock.sendall(b"BAD\r\n\r\n")
            read_answer(sock)
    assert strict.log.stat().st_size - before < 2000
