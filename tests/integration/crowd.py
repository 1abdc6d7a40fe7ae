"""Many instances at once, as their script would speak: a TLS connection of its own for each request."""

import asyncio
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from tests.integration.lab import LabUnderTest

REQUEST_S = 20.0
AGAIN_S = 2.0  # what the script waits before it asks once more
TRIES = 4  # curl's two retries within the script's two


@dataclass(frozen=True)
class Reply:
    """What an instance was told at last: `took_s` with all that it had to ask again, `tries` times."""

    status: int
    json: Mapping[str, Any]
    took_s: float
    tries: int


@dataclass
class Crowd:
    """`size` instances of one group; `tokens` by number, once registered. Their ids are theirs alone.

    They ask `place`, host and port of the balancer.
    """

    lab: LabUnderTest
    key: str
    size: int
    tokens: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._tls = ssl.create_default_context(cafile=self.lab.ca)
        balancer = self.lab.facts["balancer"]
        self.place = (str(balancer["host"]), int(balancer["https"]))

    def id(self, number: int) -> str:
        """Its id."""
        return f"crowd-{number:05}"

    async def register(self, number: int) -> Reply:
        """As instance-setup.sh does it."""
        body = self._facts(number) | {"secret": sha256(self.id(number).encode()).hexdigest()}
        reply = await self._ask("PUT", f"/instances/{self.id(number)}", self.key, body)
        if reply.status in (200, 201):
            self.tokens[number] = str(reply.json["token"])
        return reply

    async def check_in(self, number: int) -> Reply:
        """With the facts it registered with."""
        path = f"/instances/{self.id(number)}/checkin"
        reply = await self._ask("POST", path, self.tokens[number], self._facts(number))
        if "token" in reply.json:
            self.tokens[number] = str(reply.json["token"])
        return reply

    def _facts(self, number: int) -> dict[str, str]:
        return {
            "hostname": f"{self.id(number)}.example.com",
            "arch": "x86_64",
            "os_id": "ol",
            "os_version": "9.4",
            "kernel": "5.15.0-209.161.7.2.el9uek.x86_64",
            "machine": sha256(str(number).encode()).hexdigest()[:32],
            "packages": "1234",
        }

    async def _ask(self, method: str, path: str, bearer: str, body: dict[str, str]) -> Reply:
        began, status, tries = time.monotonic(), 0, 0
        told: dict[str, Any] = {}
        data = json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self.place[0]}\r\nAuthorization: Bearer {bearer}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
        )
        while status in (0, 410, 503) and tries < TRIES:
            if tries:
                await asyncio.sleep(AGAIN_S)
            tries += 1
            try:
                async with asyncio.timeout(REQUEST_S):
                    status, told = await self._converse(head.encode() + data)
            except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
                status, told = 0, {}
        return Reply(status, told, time.monotonic() - began, tries)

    async def _converse(self, request: bytes) -> tuple[int, dict[str, Any]]:
        reader, writer = await asyncio.open_connection(*self.place, ssl=self._tls)
        try:
            writer.write(request)
            head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
        finally:
            writer.transport.abort()
        if not head:  # its station died
            raise ConnectionResetError("the connection ended without an answer")
        return int(head.split()[1]), json.loads(body)


async def at_a_rate(count: int, seconds: float, ask: Any) -> list[Reply]:
    """`ask(number)` for each number below `count`, evenly over the seconds, whatever the answers take."""
    began = time.monotonic()
    tasks = []
    for number in range(count):
        wait = began + number * seconds / count - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(ask(number)))
    return list(await asyncio.gather(*tasks))


def quantile(values: list[float], share: float) -> float:
    """The value that `share` of the values do not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
