"""A station's registry with real keys, a real ledger and real TLS listeners on loopback, and nothing else."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from station.config.parse import parse_config
from station.config.schema import Config
from station.peering.desk import JoinDesk
from station.peering.group import create_group
from station.peering.identity import GroupIdentity
from station.peering.join import join
from station.peering.keys import Leaf, fingerprint
from station.peering.ledger import Ledger
from station.peering.pki import Pki
from station.peering.registry import Registry
from station.runtime.clock import SystemClock
from station.runtime.tasks import Tasks
from station.serve.peers_worker import peers_context

HOST = "127.0.0.1"


def peer_port(pki: Pki) -> ssl.SSLContext:
    """What the peers worker shows and asks for, with a station's keys."""
    names = ("peer.pem", "peer.key", "peers-ca.pem")
    return peers_context(*(str(pki.directory / name) for name in names))


class PeeringStation:
    """Files below `directory`; listens while `up` is entered."""

    def __init__(self, directory: Path, name: str, clock: SystemClock | None = None) -> None:
        self.directory, self.name = directory / name, name
        self.clock = clock or SystemClock()
        self.peers = bound_socket()
        self.public = bound_socket()
        self.state = self.directory / "state"
        self.pki = Pki(self.state)
        self.joins: list[dict[str, Any]] = []

    def config(self, **changes: str) -> Config:
        """The configuration, with other values for `compartment` and the like."""
        values = {"compartment": "dc", "hostname": "lb.test", "sslport": "17443", **changes}
        return parse_config(
            f"""
            name = "{self.name}"
            compartment = "{values["compartment"]}"
            hostname = "{values["hostname"]}"
            address = "{HOST}"
            state_directory = "{self.state}"
            [mirror]
            directory = "{self.directory / "mirror"}"
            sslport = {values["sslport"]}
            [peer]
            port = {port_of(self.peers)}
            """
        )

    def create(self) -> GroupIdentity:
        """The first station of a new group."""
        return create_group(self.config(), self.clock)

    async def join(self, token: str, at: "PeeringStation", **changes: str) -> GroupIdentity:
        """Join the group of `at`, which is up."""
        return await join(self.config(**changes), token, f"{HOST}:{port_of(at.public)}", self.clock)

    async def token(self) -> str:
        """A join token; the station is up."""
        root = fingerprint(self.pki.ca_pem())
        issued = await self.desk.issue(root, port_of(self.public), self.clock.wall())
        return issued.text()

    @asynccontextmanager
    async def up(self) -> AsyncIterator[Registry]:
        """Run the registry and listen for peers and candidates."""
        self.registry = Registry.open(
            GroupIdentity.load(self.state),
            self.config(),
            Ledger(self.state),
            self.clock,
        )
        self.desk = JoinDesk(self.name, self.registry, self.pki.authority)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(self.pki.directory / "public.pem", self.pki.directory / "public.key")
        peers, public = web.Application(), web.Application()
        peers.router.add_post("/gossip", self._gossip)
        public.router.add_get("/ca.pem", self._ca)
        public.router.add_post("/group/join", self._join)
        tasks = Tasks()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.registry.close)
            stack.push_async_callback(tasks.close)
            tasks.start(self.registry.run(), name=f"registry of {self.name}")
            await stack.enter_async_context(serving(peers, self.peers, peer_port(self.pki)))
            await stack.enter_async_context(serving(public, self.public, server))
            await self.registry.first_exchange()
            yield self.registry

    async def _gossip(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        tls: ssl.SSLObject = request.transport.get_extra_info("ssl_object")
        der = tls.getpeercert(binary_form=True)
        assert der is not None
        sender = Leaf(ssl.DER_cert_to_PEM_cert(der), "").common_name
        answer = await self.registry.handle_request(sender, await request.read())
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    async def _ca(self, _request: web.Request) -> web.Response:
        return web.Response(text=self.pki.ca_pem())

    async def _join(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.joins.append(body)
        status, answer = await self.desk.handle(body, self.clock.wall(), request.remote or "")
        return web.json_response(answer, status=status)


@asynccontextmanager
async def serving(
    application: web.Application, listener: socket.socket, context: ssl.SSLContext
) -> AsyncIterator[None]:
    """Serve the application over TLS; the listener itself stays open for the next time."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.SockSite(runner, listener.dup(), ssl_context=context).start()
    try:
        yield
    finally:
        await runner.cleanup()


def bound_socket() -> socket.socket:
    """A listener on a free port of loopback."""
    listener = socket.create_server((HOST, 0), backlog=64)
    listener.setblocking(False)
    return listener


def port_of(listener: socket.socket) -> int:
    """The port it listens on."""
    port: int = listener.getsockname()[1]
    return port


async def until(condition: Callable[[], object], within_s: float) -> None:
    """Wait for the condition; fails when it does not come true in time."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)
