"""The loopback page: the station's state for people, and `/metrics`.

Loopback is not a credential: a browser on this host runs anybody's scripts. So the Host header must be ours (against
rebinding), and the token in `admin.token` is asked for, as a bearer, or as the password of a browser's own form.
"""

import base64
import binascii
import hmac
import os
import secrets
from collections.abc import Awaitable, Callable, Sequence
from html import escape
from pathlib import Path

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from station import __version__
from station.control import metrics
from station.control.mirrors import mirror_rows
from station.control.station import Station
from station.control.status import overall_state

TOKEN_FILE = "admin.token"

_STYLE = "body{font:15px sans-serif;margin:2em}td,th{padding:.2em 1em;text-align:left}"
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}

Handler = Callable[[web.Request], Awaitable[web.Response]]


def admin_token(state: Path) -> str:
    """The token of this station, made at the first call; readable by the service's user alone. Raises OSError."""
    path = state / TOKEN_FILE
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        if path.stat().st_mode & 0o077:
            raise PermissionError(f"{path} may be read by others: chmod 600 it") from None
        return path.read_text(encoding="ascii").strip()
    with os.fdopen(fd, "w", encoding="ascii") as file:
        token = secrets.token_urlsafe(32)
        file.write(token + "\n")
    return token


def page_routes(station: Station, listen: str, token: str) -> list[web.RouteDef]:
    """Routes of the page. `listen`: ADDRESS:PORT as configured."""
    page = _Page(station, listen, token)
    return [
        web.get("/", page.guarded(page.overview)),
        web.get("/metrics", page.guarded(page.metrics)),
    ]


class _Page:
    def __init__(self, station: Station, listen: str, token: str) -> None:
        self._station, self._token = station, token
        port = listen.rpartition(":")[2]
        self._hosts = {listen, f"localhost:{port}"}

    def guarded(self, handler: Handler) -> Handler:
        """Only for who has the token, and only under our own name."""

        async def answer(request: web.Request) -> web.Response:
            if request.headers.get("Host", "") not in self._hosts:
                return web.Response(status=421, text="not the name of this page\n")
            if not self._is_known(request.headers.get("Authorization", "")):
                challenge = {"WWW-Authenticate": 'Basic realm="station: password is admin.token"'}
                return web.Response(status=401, text="the token, please\n", headers=challenge)
            response = await handler(request)
            response.headers.update(_HEADERS)
            return response

        return answer

    def _is_known(self, authorization: str) -> bool:
        kind, _, value = authorization.partition(" ")
        if kind.lower() == "basic":
            try:
                value = base64.b64decode(value, validate=True).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                return False
        elif kind.lower() != "bearer":
            return False
        return hmac.compare_digest(value.encode(), self._token.encode())

    async def metrics(self, _request: web.Request) -> web.Response:
        body = metrics_body(self._station)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def overview(self, _request: web.Request) -> web.Response:
        station = self._station
        is_ready, reason = station.readiness()
        rows = _rows(station)
        state = overall_state(is_ready, station.storage.view.state, rows)
        sources = [
            (row["source"], row["state"], f"{row['percentage'] or 0} %", row["revision"] or "")
            for row in rows
        ]
        peers = [
            (name, "present" if is_present else "away", report.reason)
            for name, (is_present, report) in sorted(station.peers().items())
        ]
        text = (
            f"<!doctype html><meta charset=utf-8><title>{escape(station.name)}</title>"
            f"<style>{_STYLE}</style><h1>{escape(station.name)}: {escape(str(state.value))}</h1>"
            f"<p>{'ready' if is_ready else 'not ready: ' + escape(reason)}; storage "
            f"{escape(station.storage.view.state.value)}; version {escape(__version__)}</p>"
            + _table("Mirrors", ("source", "state", "here", "revision"), sources)
            + _table("Peers", ("station", "state", "reason"), peers)
        )
        return web.Response(text=text, content_type="text/html")


def metrics_body(station: Station) -> bytes:
    """The text of /metrics."""
    is_ready, _ = station.readiness()
    storage = station.storage.view
    facts = {
        "ready": float(is_ready),
        "storage_free_bytes": float(storage.free or 0),
        "storage_capacity_bytes": float(storage.capacity or 0),
        "peers_present": float(sum(present for present, _ in station.peers().values())),
    }
    workers = {worker.name: worker.counters for worker in station.workers()}
    return metrics.render(workers, _rows(station), facts)


def _rows(station: Station) -> list[dict[str, object]]:
    return mirror_rows(
        station.mirror_list(),
        station.storage.view.sources,
        station.reports_of_our_storage(),
        station.reports_of_all(),
    )


def _table(title: str, heads: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    def line(cells: tuple[object, ...], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<h2>{escape(title)}</h2><table>{line(heads, 'th')}{body}</table>"
