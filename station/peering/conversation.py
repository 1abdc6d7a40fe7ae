"""One bounded HTTP conversation: a total deadline and a total size, which httpx alone does not give.

httpx counts a timeout anew for each read, and decodes whatever Content-Encoding it is sent; so the deadline is
around the whole, the body is read raw and cut at its limit, and only plain bytes are accepted.
"""

import asyncio
import json as json_codec
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx


class ConversationFailed(Exception):
    """No usable answer: not reached, too late, too large, or not what was asked for. The message says which."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as a JSON object. Raises ConversationFailed."""
        try:
            found = json_codec.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise ConversationFailed(f"the answer ({self.status}) is no JSON") from error
        if not isinstance(found, dict):
            raise ConversationFailed(f"the answer ({self.status}) is no JSON object")
        return found


async def converse(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    deadline_s: float,
    bytes_max: int,
    content: bytes | None = None,
    json: object = None,
    headers: Mapping[str, str] | None = None,
    extensions: Mapping[str, Any] | None = None,
) -> Reply:
    """Ask and read the whole answer within `deadline_s` seconds and `bytes_max` bytes. Raises ConversationFailed."""
    if json is not None:
        content = json_codec.dumps(json, separators=(",", ":")).encode()
    sent = {"Accept-Encoding": "identity", **(headers or {})}
    handshake = _Handshake()
    try:
        async with (
            asyncio.timeout(deadline_s),
            client.stream(
                method,
                url,
                content=content,
                headers=sent,
                extensions={**(extensions or {}), "trace": handshake.trace},
            ) as response,
        ):
            body = bytearray()
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > bytes_max:
                    raise ConversationFailed(f"the answer is larger than {bytes_max} bytes")
            return Reply(response.status_code, response.headers, bytes(body))
    except TimeoutError as error:
        raise ConversationFailed(f"no complete answer within {deadline_s:g} s") from error
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
        raise ConversationFailed(str(error) or type(error).__name__) from error
    finally:
        await handshake.close_unfinished()


class _Handshake:
    """The connection of one conversation while its TLS handshake is not done.

    httpcore 1.0 forgets a connection on which it is cancelled just then, and a peer that accepts and says nothing
    would cost a descriptor for each try.
    """

    def __init__(self) -> None:
        self._connection: Any = None

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Called by httpcore at each step."""
        if event == "connection.connect_tcp.complete":
            self._connection = info["return_value"]
        elif event == "connection.start_tls.complete" or event.startswith("http11."):
            self._connection = None

    async def close_unfinished(self) -> None:
        """Close the connection if the handshake never ended; a second close does no harm."""
        if self._connection is not None:
            await self._connection.aclose()
