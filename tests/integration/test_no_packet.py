"""What the proxy refuses it does not dial: in a network of its own, the kernel counts connections that are begun."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cut import Namespace
from tests.integration.proxy_harness import Proxy, connect, eventually
from tests.integration.test_egress import PUBLIC, NameServer, start
from tests.integration.test_proxy import INNER

# Names that a hostile name server has for what is inside, alone and behind a public address.
NAMES = {
    "loopback.test": [["127.0.0.1"]],
    "mixed.test": [[PUBLIC, "127.0.0.1"]],
    "unspecified.test": [["0.0.0.0"]],
    "metadata.test": [["169.254.169.254"]],
    "private.test": [["10.0.0.1"]],
}

# What a resolver takes for 127.0.0.1, and what is no name of a host.
DIGITS = ("①②⑦.0.0.1:443", "１２７.0.0.1:443")

# A link that leads everywhere: whatever were sent would be counted, and be lost at its other end.
LINK = """
ip link add out type veth peer name lost
ip link set out up
ip link set lost up
ip address add 192.0.2.1/24 dev out
ip route add default dev out
ip -6 route add default dev out
"""

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("ip", "unshare"))),
    reason="a network namespace: root, and iproute2",
)


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    with Namespace():
        subprocess.run(["sh", "-euc", LINK], check=True, timeout=10)
        proxy = Proxy(tmp_path)
        try:
            yield proxy
        finally:
            proxy.stop()


def connections_begun() -> int:
    """By all processes of this thread's network, IPv4 and IPv6: each began with a SYN."""
    names, values = (
        line.split()
        for line in Path("/proc/thread-self/net/snmp").read_text().splitlines()
        if line.startswith("Tcp:")
    )
    return int(values[names.index("ActiveOpens")])


def test_no_connection_is_begun_to_what_is_refused(proxy: Proxy) -> None:
    with contextlib.closing(NameServer(NAMES)):
        start(proxy, "*")
        assert proxy.status(b"GET /health/live HTTP/1.1\r\n\r\n") == 200
        targets = [*INNER, *(f"{name}:443" for name in NAMES)]
        before = connections_begun()
        for target in targets:
            assert proxy.status(connect(target)) == 403, target
            plain = target.removesuffix(":443")
            assert proxy.status(f"GET http://{plain}/ HTTP/1.1\r\n\r\n".encode()) == 403, target
        for target in DIGITS:
            assert proxy.status(connect(target)) == 400, target
        begun, ours = connections_begun() - before, 2 * len(targets) + len(DIGITS)
    print(f"{ours} requests refused, {begun} connections begun: ours to the proxy")
    assert begun == ours


def test_a_connection_to_what_is_allowed_is_counted(proxy: Proxy) -> None:
    start(proxy, "*")
    assert proxy.status(b"GET /health/live HTTP/1.1\r\n\r\n") == 200
    for target in (f"{PUBLIC}:443", "[2001:503:ba3e::2:30]:443"):
        before = connections_begun()
        with proxy.connect() as sock:
            sock.sendall(connect(target))
            eventually(lambda before=before: connections_begun() - before == 2)  # type: ignore[misc]
