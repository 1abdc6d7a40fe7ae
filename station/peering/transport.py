"""One message to one peer over mutual TLS, and its answer."""

from dataclasses import dataclass

import httpx

from station.model.records import StationRecord
from station.peering.conversation import ConversationFailed, converse
from station.peering.keys import peer_host_name
from station.peering.offset import HEADER, Sample
from station.peering.pki import Pki
from station.runtime.clock import Clock

GOSSIP_PATH = "/gossip"
# A peer that needs longer is treated as absent; it is tried again for ever.
EXCHANGE_DEADLINE_S = 5.0
MESSAGE_BYTES_MAX = 8 * 1024 * 1024  # a delta is cut at its byte budget long before
# One conversation per peer, and as many again for pushes; groups are far smaller.
CONNECTIONS_MAX = 128
# Longer than a round, shorter than the peer's own patience with an idle connection.
KEEP_ALIVE_S = 15.0


class TurnedAway(ConversationFailed):
    """The peer knows our certificate and does not take us for a member (any more)."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A peer's answer, and what it says about its clock."""

    answer: bytes
    sample: Sample | None


class PeerTransport:
    """The connections to all peers."""

    def __init__(self, pki: Pki, clock: Clock) -> None:
        self._pki = pki
        self._clock = clock
        self._client = self._new_client()

    async def exchange(self, peer: StationRecord, message: bytes) -> Exchange:
        """Ask; the peer must show the certificate of the station it is taken for.

        Raises ConversationFailed (TurnedAway among them) after at most EXCHANGE_DEADLINE_S.
        """
        host = f"[{peer.address}]" if ":" in peer.address else peer.address
        sent = self._clock.boot()
        reply = await converse(
            self._client,
            "POST",
            f"https://{host}:{peer.peer_port}{GOSSIP_PATH}",
            content=message,
            headers={"Content-Type": "application/octet-stream"},
            extensions={"sni_hostname": peer_host_name(peer.name)},
            deadline_s=EXCHANGE_DEADLINE_S,
            bytes_max=MESSAGE_BYTES_MAX,
        )
        received = self._clock.boot()
        if reply.status == 403:
            raise TurnedAway(f"{peer.name} does not take this station for a member of its group")
        if reply.status != 200:
            raise ConversationFailed(f"answered {reply.status}: {reply.body[:200]!r}")
        return Exchange(reply.body, Sample.of(reply.headers.get(HEADER, ""), sent, received))

    async def renew(self) -> None:
        """Use the certificate that is on the disk now. Raises KeysInvalid, OSError: the old one is then kept."""
        client = self._new_client()
        self._client, old = client, self._client
        await old.aclose()

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    def _new_client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            verify=self._pki.peer_client_context(),
            trust_env=False,
            follow_redirects=False,
            timeout=None,  # the deadline is around the whole
            limits=httpx.Limits(
                max_connections=CONNECTIONS_MAX,
                max_keepalive_connections=CONNECTIONS_MAX,
                keepalive_expiry=KEEP_ALIVE_S,
            ),
        )
