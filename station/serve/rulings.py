"""What the rules in force say about clients and request heads: dnf repeats its heads byte by byte, so it is kept.

One of these stands for one set of rules; when they change, a new one is made.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from station.forward.headers import passes_through
from station.forward.policy import Decision, Policy, parse_rules
from station.forward.request import BadRequest, ProxyRequest, parse_request
from station.model.snapshot import Snapshot
from station.runtime.lines import line

_KEPT_MAX: Final = 1024
_HEAD_BYTES_KEPT_MAX: Final = 2048  # dnf sends 150; 2 MiB of heads in all

Ruling = tuple[ProxyRequest, Decision | None]


class Rulings:
    """`via` is our own mark: a request that carries it has been here."""

    def __init__(self, policy: Policy, via: str) -> None:
        self.policy = policy
        self._via = via.encode()
        self._clients: dict[str, bool] = {}
        self._heads: dict[bytes, Ruling] = {}

    def may_ask(self, client: str) -> bool:
        """Whether a client with this address may use the proxy."""
        known = self._clients.get(client)
        if known is None:
            if len(self._clients) >= _KEPT_MAX:
                self._clients.clear()
            known = self._clients[client] = self.policy.may_ask(client)
        return known

    def read(self, data: bytes | bytearray) -> Ruling | None:
        """The request at the start of `data`, and what becomes of it; no decision for a question about our health.

        None while the head is incomplete. Raises BadRequest.
        """
        head = bytes(data) if len(data) <= _HEAD_BYTES_KEPT_MAX else b""
        known = self._heads.get(head)
        if known is not None:
            return known
        request = parse_request(data)
        if request is None:
            return None
        if passes_through(request.fields, self._via):
            raise BadRequest(508, "proxy loop")
        decision = None if request.target is None else self.policy.decide(request.target)
        ruling = request, decision
        if request.size == len(head):
            if len(self._heads) >= _KEPT_MAX:
                self._heads.clear()
            self._heads[head] = ruling
        return ruling


def policy_of(snapshot: Snapshot, settings: Mapping[str, Any]) -> Policy:
    """The rules of a snapshot, of the proxy's settings where it has none. Raises ValueError, KeyError."""
    further = settings.get("further", {})
    addresses = (member.address for member in snapshot.members)
    return Policy.build(
        hosts=snapshot.proxy_hosts or settings["hosts"],
        destinations=_valid(snapshot.proxy_destinations or settings["destinations"]),
        own_hosts=(snapshot.hostname, *snapshot.former_hostnames, *addresses),
        ports_http=(snapshot.port_http, *further.get("http", ())),
        ports_https=(snapshot.port_https, *further.get("https", ())),
    )


def _valid(destinations: Iterable[str]) -> list[str]:
    """Without the rules that are none: one upstream with a strange name must not stop all others."""
    found = []
    for text in destinations:
        try:
            parse_rules([text.removeprefix("!")])
        except ValueError as error:
            line("error", "proxy.rule_refused", error=str(error))
        else:
            found.append(text)
    return found
