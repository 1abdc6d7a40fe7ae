"""Where a job may connect to: resolve once, judge each address, dial exactly that one.

A source's configured host:port is always allowed (a private upstream is normal). Everything else, that is where
upstream redirects to, must have a public address and may not leave TLS.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Iterable
from urllib.parse import urljoin, urlsplit

from station.sync.failure import SyncFailed

REDIRECTS_MAX = 5  # content networks use one or two
RESOLVE_TIMEOUT_S = 15.0  # three tries of a resolver's usual five seconds
URL_CHARS_MAX = 4096  # a signed URL of a content network has about 1,000
PORTS = {"http": 80, "https": 443}

# An address as text → why it may not be dialled, or nothing.
Judge = Callable[[str], str | None]


def host_and_port(url: str) -> tuple[str, int]:
    """The host (lower case, no brackets) and port of an http(s) URL. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError(f"{url[:200]!r} is not http://HOST/… or https://HOST/…")
    return parts.hostname, parts.port or PORTS[parts.scheme]


def redirect_target(url: str, location: str, hops: int) -> str:
    """Where a redirect from `url` leads, absolute. `hops` redirects were followed already.

    Raises SyncFailed "redirect": too many, from https to http, not http(s), credentials in it, malformed.
    """
    if hops >= REDIRECTS_MAX:
        raise _refused(url, f"more than {REDIRECTS_MAX} redirects")
    if len(location) > URL_CHARS_MAX or any(ord(c) <= 32 for c in location):
        raise _refused(url, "a redirect to a malformed URL")
    try:
        target = urljoin(url, location)
        host_and_port(target)
        parts = urlsplit(target)
    except ValueError as error:
        raise _refused(url, f"a redirect to {location[:200]!r}") from error
    if parts.username or parts.password:
        raise _refused(url, "a redirect to a URL with credentials")
    if urlsplit(url).scheme == "https" and parts.scheme != "https":
        raise _refused(url, f"a redirect from https to {target[:200]}: upstream must stay on https")
    return target


class Egress:
    """The judgement for one job. `allowed` are URLs whose host:port is dialled at any address."""

    def __init__(self, allowed: Iterable[str], judge: Judge) -> None:
        self._allowed = {host_and_port(url) for url in allowed}
        self._judge = judge
        self._known: dict[tuple[str, int], list[str]] = {}

    async def addresses(self, host: str, port: int) -> list[str]:
        """The addresses that may be dialled for host:port, the resolver's order. Asked once per job.

        Raises SyncFailed: "unreachable" when the name has no address, "redirect" when none of them is allowed.
        """
        key = (host.lower(), port)
        if key not in self._known:
            self._known[key] = await self._judged(*key)
        return self._known[key]

    async def _judged(self, host: str, port: int) -> list[str]:
        found = await _resolve(host, port)
        if (host, port) in self._allowed:
            return found
        reasons = {address: self._judge(address) for address in found}
        good = [address for address in found if not reasons[address]]
        if not good:
            why = "; ".join(f"{address}: {reason}" for address, reason in reasons.items())
            raise SyncFailed(
                "redirect",
                f"{host}:{port} may not be reached by a redirect ({why}); "
                "if it is meant, make it the source's url",
                retriable=False,
            )
        return good


async def _resolve(host: str, port: int) -> list[str]:
    try:
        return [str(ipaddress.ip_address(host))]  # the strict spelling only: no 127.1, no 0x7f.1
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            rows = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError) as error:
        raise SyncFailed(
            "unreachable",
            f"{host}: the name has no address ({error or 'no answer'})",
            retriable=True,
        ) from error
    return list(dict.fromkeys(str(row[4][0]) for row in rows))


def _refused(url: str, why: str) -> SyncFailed:
    return SyncFailed("redirect", f"{url[:200]}: {why}", retriable=False)
