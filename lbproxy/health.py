"""Health checks: GET /health/ready on one port of one backend, again and again, on a new connection each time.

A new connection, so that each of the backend's workers is asked in turn and a stopped process, whose kernel still
accepts, is seen by its silence. After a failure the next check follows at once: with the defaults silence is certain
after 0.5 + 2 x 0.7 seconds.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from lbproxy.balancer import Verdict
from lbproxy.proxy_header import LOCAL

_ANSWER_BYTES_MAX = 4096
_PAUSE_AFTER_FAILURE_S = 0.1  # a refused connection fails at once: no spinning


@dataclass(frozen=True, slots=True)
class Check:
    """One backend's port and how to ask it. `kind`: http, https or tcp; `tls` for https; times in seconds."""

    address: str
    port: int
    kind: str
    interval_s: float
    timeout_s: float
    send_proxy: bool = False
    tls: ssl.SSLContext | None = None


def check_context(ca: str) -> ssl.SSLContext:
    """TLS for health checks. Without a CA the certificate is not verified: a check learns nothing secret.

    The name is never compared: a backend is addressed by its IP address. Raises OSError for a bad file.
    """
    context = ssl.create_default_context(cafile=ca or None)
    context.check_hostname = False
    if not ca:
        context.verify_mode = ssl.CERT_NONE
    return context


async def watch(check: Check, report: Callable[[Verdict, str], None]) -> None:
    """Check for ever; `report` is told of each verdict, with a detail for people."""
    while True:
        try:
            async with asyncio.timeout(check.timeout_s):
                verdict, detail = await _ask(check)
        except TimeoutError:
            verdict, detail = Verdict.SILENT, "no answer in time"
        except OSError as error:
            verdict, detail = Verdict.SILENT, error.strerror or str(error)
        report(verdict, detail)
        is_ready = verdict is Verdict.READY
        await asyncio.sleep(check.interval_s if is_ready else _PAUSE_AFTER_FAILURE_S)


async def _ask(check: Check) -> tuple[Verdict, str]:
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in check.address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        await loop.sock_connect(sock, (check.address, check.port))
        if check.kind == "tcp":
            sock.close()
            return Verdict.READY, "accepts"
        if check.send_proxy:
            await loop.sock_sendall(sock, LOCAL)
        name = "" if check.tls else None
        reader, writer = await asyncio.open_connection(
            sock=sock, ssl=check.tls, server_hostname=name, limit=_ANSWER_BYTES_MAX
        )
    except BaseException:
        sock.close()
        raise
    try:
        host = f"[{check.address}]" if ":" in check.address else check.address
        writer.write(
            f"GET /health/ready HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        )
        try:
            line = await reader.readline()
        except ValueError:  # longer than the limit
            line = b""
    finally:
        writer.transport.abort()  # nothing is left to be said; a clean goodbye could hang on a dead one
    words = line.split(b" ", 2)
    if not words[0].startswith(b"HTTP/1."):
        # The end without an answer is what a process shows that dies; garbage is another service.
        return (Verdict.NOT_READY, "no HTTP answer") if line else (Verdict.SILENT, "closed")
    status = words[1].decode("ascii", "replace") if len(words) > 1 else ""
    return (Verdict.READY if status == "200" else Verdict.NOT_READY), f"HTTP {status}"
