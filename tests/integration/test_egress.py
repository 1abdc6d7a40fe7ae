"""Names that lie: a name server of ours, seen by the proxy worker alone, answers with what a hostile one would."""

import contextlib
import os
import re
import shutil
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.proxy_harness import Proxy, connect, echo, eventually, read_head

SERVER = "127.53.0.1"
# A root name server: public beyond doubt, and nothing of ours ever dials it here.
PUBLIC = "198.41.0.4"
IN_PLACE = "mount --bind $0 /etc/resolv.conf && exec {traced}$@"

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare"), reason="a mount namespace, and port 53"
)


class NameServer:
    """Answers A questions from `names`: a list of answers, one after the other; the last one stays."""

    def __init__(self, names: dict[str, list[list[str]]]) -> None:
        self.asked: Counter[str] = Counter()
        self._names = names
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind((SERVER, 53))
        self._sock.settimeout(0.2)
        self._is_open = True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._is_open = False
        self._thread.join(5)
        self._sock.close()

    def _run(self) -> None:
        while self._is_open:
            try:
                question, client = self._sock.recvfrom(4096)
            except TimeoutError:
                continue
            answer = self._answer(question)
            if answer:
                self._sock.sendto(answer, client)

    def _answer(self, question: bytes) -> bytes:
        at, labels = 12, []
        while question[at]:
            labels.append(question[at + 1 : at + 1 + question[at]].decode().lower())
            at += 1 + question[at]
        name, (kind,) = ".".join(labels), struct.unpack_from("!H", question, at + 1)
        asked = question[12 : at + 5]
        if name == "silent.test":
            return b""
        if name == "loop.test":  # an alias of itself
            alias = b"\xc0\x0c" + struct.pack("!HHIH", 5, 1, 0, 2) + b"\xc0\x0c"
            return question[:2] + struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0) + asked + alias
        if name not in self._names:
            return question[:2] + struct.pack("!HHHHH", 0x8183, 1, 0, 0, 0) + asked
        records = b""
        count = 0
        if kind == 1:
            turns = self._names[name]
            addresses = turns[min(self.asked[name], len(turns) - 1)]
            self.asked[name] += 1
            count = len(addresses)
            for address in addresses:
                records += (
                    b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 0, 4) + socket.inet_aton(address)
                )
        return question[:2] + struct.pack("!HHHHH", 0x8180, 1, count, 0, 0) + asked + records


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    proxy = Proxy(tmp_path)
    try:
        yield proxy
    finally:
        proxy.stop()


def start(proxy: Proxy, *destinations: str, traced: str = "") -> None:
    """The proxy, which sees another resolv.conf than everybody else. `traced`: what to run it under."""
    config = proxy.directory / "resolv.conf"
    config.write_text(f"nameserver {SERVER}\noptions timeout:1 attempts:1\n")
    in_place = IN_PLACE.format(traced=traced)
    proxy.start(*destinations, command=("unshare", "-m", "sh", "-c", in_place, str(config)))


def test_one_forbidden_answer_among_public_ones_refuses_the_request(proxy: Proxy) -> None:
    names = {"mixed.test": [[PUBLIC, "127.0.0.1"]], "inner.test": [["169.254.169.254"]]}
    with contextlib.closing(NameServer(names)):
        start(proxy, "*")
        for name in names:
            began = time.monotonic()
            assert proxy.status(connect(f"{name}:443")) == 403
            assert time.monotonic() - began < 5, "it was dialled"


def test_a_name_is_resolved_once_and_its_next_answer_is_not_asked_for(proxy: Proxy) -> None:
    origin = proxy.origin(echo)
    with contextlib.closing(NameServer({"turn.test": [["127.0.0.1"], ["127.0.0.99"]]})) as server:
        start(proxy, f"turn.test:{origin.port}")
        for _ in range(3):
            with proxy.connect() as sock:
                sock.sendall(connect(f"turn.test:{origin.port}"))
                assert b" 200 " in read_head(sock)
        assert server.asked["turn.test"] == 1  # kept for 30 s
        eventually(lambda: origin.accepted == 3)


@pytest.mark.parametrize("count", [40, 4000])
def test_at_most_four_addresses_of_a_name_are_dialled(proxy: Proxy, count: int) -> None:
    with socket.create_server(("127.53.0.11", 0)) as unused:
        port = unused.getsockname()[1]
    # Nobody listens there; 4,000 are as many as a packet holds.
    addresses = [f"127.53.{number // 250 + 1}.{number % 250 + 1}" for number in range(count)]
    seen = proxy.directory / "connects"
    with contextlib.closing(NameServer({"many.test": [addresses]})):
        start(proxy, f"many.test:{port}", traced=f"strace -D -f -e trace=connect -o {seen} ")
        began = time.monotonic()
        assert proxy.status(connect(f"many.test:{port}")) == 502
        assert time.monotonic() - began < 10
    dialled = re.findall(rf'htons\({port}\), sin_addr=inet_addr\("([0-9.]+)"', seen.read_text())
    assert dialled or count > 40, "so many the resolver may not even hand on"
    assert len(set(dialled)) <= 4
    assert set(dialled) <= set(addresses)


def test_a_name_server_that_is_silent_or_knows_no_such_name_has_its_status(proxy: Proxy) -> None:
    with contextlib.closing(NameServer({})):
        start(proxy, "*")
        assert proxy.status(connect("nowhere.test:443")) == 502
        began = time.monotonic()
        assert proxy.status(connect("loop.test:443")) in (502, 504)
        assert time.monotonic() - began < 6
        began = time.monotonic()
        assert proxy.status(connect("silent.test:443")) in (502, 504)
        assert time.monotonic() - began < 6
