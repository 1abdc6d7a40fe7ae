"""Health checks: GET /health/ready on one port of one backend, again and again, on a new connection each time.

A new connection, so that each of the backend's workers is asked in turn and a stopped process, whose kernel still
accepts, is seen by its silence. After a failure the next check follows at once: with the defaults silence is certain
after 0.5 + 2 x 0.7 seconds.
"""

import asyncio
import ssl
from collections.abc import Callable

from lbproxy.balancer import REFUSED, Verdict
from lbproxy.config import HealthConfig
from lbproxy.proxy_header import Address

_ANSWER_BYTES_MAX = 4096
_PAUSE_AFTER_FAILURE_S = 0.1  # a refused connection fails at once: no spinning
_ASK = b"GET /health/ready HTTP/1.1\r\nHost: station\r\nConnection: close\r\n\r\n"

Report = Callable[[Verdict, str], None]


def unverified() -> ssl.SSLContext:
    """TLS for health checks. The certificate is not verified: a check tells no secret."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def watch(
    address: Address,
    config: HealthConfig,
    tls: ssl.SSLContext | None,
    preface: bytes,
    report: Report,
) -> None:
    """Check for ever; `report` is told of each verdict, with a detail for people."""
    while True:
        try:
            async with asyncio.timeout(config.timeout_s):
                verdict, detail = await _ask(address, tls, preface)
        except OSError as error:  # a TimeoutError is one, and says nothing
            said = REFUSED if isinstance(error, ConnectionRefusedError) else error.strerror
            verdict, detail = Verdict.SILENT, said or "no answer in time"
        report(verdict, detail)
        is_ready = verdict is Verdict.READY
        await asyncio.sleep(config.interval_s if is_ready else _PAUSE_AFTER_FAILURE_S)


async def _ask(address: Address, tls: ssl.SSLContext | None, preface: bytes) -> tuple[Verdict, str]:
    reader, writer = await asyncio.open_connection(*address, limit=_ANSWER_BYTES_MAX)
    try:
        writer.write(preface)
        if tls is not None:
            await writer.start_tls(tls)
        writer.write(_ASK)
        line = await reader.readline()
    except ValueError:  # longer than the limit
        line = b"?"
    finally:
        writer.transport.abort()  # nothing is left to be said; a clean goodbye could hang on a dead one
    words = line.split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1."):
        # The end without an answer is what a process shows that dies; garbage is another service.
        return (Verdict.NOT_READY, "no HTTP answer") if line else (Verdict.SILENT, "closed")
    status = words[1].decode("ascii", "replace")
    return (Verdict.READY if status == "200" else Verdict.NOT_READY), f"HTTP {status}"
