"""aiohttp behind our own listeners: the admin socket, and what the workers relay with a PROXY header in front.

The client's address, the listener it came by and the peer's certificate name come from that header alone; forwarded
headers mean nothing. Only our own workers can reach the relay socket (mode 0600).
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from aiohttp import web

from station.gossip.replica import WriteRefused
from station.http.proxy_header import Header, parse
from station.peering.transport import GOSSIP_PATH
from station.runtime.lines import line

HEADER_DEADLINE_S = 5.0  # our own worker sends it with the first packet
HEADER_BYTES_MAX = 4096
REQUEST_DEADLINE_S = 60.0  # no answer of control takes longer; a slow client is cut off
BODY_BYTES_MAX = 4 * 1024 * 1024  # the largest gossip message

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Via:
    """How a request came here."""

    listener: str  # http | https | peers | unix | admin
    client: str = ""
    peer: str = ""  # station name in the certificate; only on `peers`


class ApiError(Exception):
    """An answer of status ≥ 400 with one clear text. Nothing was changed."""

    def __init__(self, status: int, code: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"code": code, "message": message, "field": field}}


_ways: "WeakKeyDictionary[asyncio.BaseTransport, Via]" = WeakKeyDictionary()


def via(request: web.Request) -> Via:
    """How `request` came here; the admin socket has no header."""
    transport = request.transport
    return (_ways.get(transport) if transport else None) or Via("admin")


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """One request per connection (but of gossip), a deadline, and JSON errors without a traceback."""
    try:
        async with asyncio.timeout(REQUEST_DEADLINE_S):
            response = await handler(request)
    except ApiError as error:
        response = web.json_response(error.body, status=error.status)
    except WriteRefused as error:
        response = _failure(503, error.code, f"not written: {error.reason}; try again")
    except TimeoutError:
        response = _failure(503, "timeout", "no answer in time; try again")
    except web.HTTPException as error:
        response = _failure(error.status, "http", error.reason)
    except Exception as error:
        line("error", "api.failed", path=request.path, error=repr(error))
        response = _failure(500, "internal", "the station failed to answer; its log says more")
    if not response.prepared and not _is_gossip(request):
        response.force_close()
    return response


def _is_gossip(request: web.Request) -> bool:
    """Each second with each peer: a TLS handshake for each would be half of what an idle station does.

    A connection on which a peer has gossiped is control's until its end, so nothing else is asked on it.
    """
    return request.path == GOSSIP_PATH and via(request).listener == "peers"


def _failure(status: int, code: str, message: str) -> web.Response:
    body = {"error": {"code": code, "message": message, "field": ""}}
    return web.json_response(body, status=status)


class _Proxied(asyncio.Protocol):
    """Reads the PROXY header, then hands the connection to aiohttp for good."""

    def __init__(self, make_handler: Callable[[], asyncio.Protocol]) -> None:
        self._make_handler = make_handler
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(HEADER_DEADLINE_S, transport.abort)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            header = parse(self._buffer)
        except ValueError as error:
            line("error", "relay.bad_header", error=str(error))
            self._transport.abort()
            return
        if header is None:
            if len(self._buffer) > HEADER_BYTES_MAX:
                self._transport.abort()
            return
        self._deadline.cancel()
        _ways[self._transport] = _read_header(header)
        handler = self._make_handler()
        self._transport.set_protocol(handler)
        handler.connection_made(self._transport)
        if rest := self._buffer[header.size :]:
            handler.data_received(rest)

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()


def _read_header(header: Header) -> Via:
    client = header.source[0] if header.source else ""
    peer = header.common_name() if header.listener() == "peers" else ""
    return Via(header.listener(), client, peer or "")


class HttpServer:
    """An aiohttp application on a listening unix socket that the supervisor opened."""

    def __init__(self, routes: list[web.RouteDef], *, is_relayed: bool) -> None:
        application = web.Application(middlewares=[answer_errors], client_max_size=BODY_BYTES_MAX)
        application.add_routes(routes)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False)
        self._is_relayed = is_relayed

    async def serve(self, listener: socket.socket) -> None:
        """Serve until `close`."""
        await self._runner.setup()
        server = self._runner.server
        assert server is not None
        factory: Any = (lambda: _Proxied(server)) if self._is_relayed else server
        loop = asyncio.get_running_loop()
        if listener.family == socket.AF_UNIX:
            self._server = await loop.create_unix_server(factory, sock=listener)
        else:
            self._server = await loop.create_server(factory, sock=listener)

    async def close(self) -> None:
        """Stop; requests under way are cut."""
        self._server.close()
        await self._runner.cleanup()
