"""Who may use the proxy, and where to: the rules of one station, decided without asking anybody.

Rules of `destinations`:

- `example.com`: this name and every name below it, ports 443 and 80; an address the same;
- `host:port`: exactly this one, whatever address it resolves to (an upstream in the own network is normal);
- `*`: everything that has a public address;
- `!` before any of them: never. A denial beats every permission, whatever the order.

The group's own hostname and its members' addresses, on the mirror ports, go to this station's own files workers. All
other ports of the group are refused, so that nobody reaches its insides through itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from station.forward.address import Address, judge, unmapped
from station.forward.target import Target, TargetError, parse_target

WEB_PORTS = frozenset((443, 80))
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Allowed:
    """May be dialled; `any_address`: listed exactly, so its address is not judged."""

    any_address: bool = False


@dataclass(frozen=True, slots=True)
class ToFiles:
    """Goes to this station's own files workers, as if it had come in on `listener` (http or https)."""

    listener: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The answer: a status and fixed text, safe to be shown."""

    status: int
    reason: str


Decision = Allowed | ToFiles | Refused


@dataclass(frozen=True, slots=True)
class Rules:
    """One side of the list: permissions, or denials."""

    suffixes: frozenset[str] = frozenset()
    exact: frozenset[Target] = frozenset()
    everything: bool = False

    def names(self, target: Target) -> bool:
        """Whether a suffix rule names the host, on a label boundary."""
        if target.host in self.suffixes:
            return True
        if target.address is not None:
            return False
        rest = target.host
        while "." in rest:
            rest = rest.partition(".")[2]
            if rest in self.suffixes:
                return True
        return False


def parse_rules(texts: Iterable[str]) -> Rules:
    """The rules of a list without `!`. Raises ValueError, naming the rule."""
    suffixes, exact, everything = set(), set(), False
    for text in texts:
        try:
            if text == "*":
                everything = True
            elif _is_exact(text):
                exact.add(parse_target(text.encode()))
            else:
                bare = text.removeprefix(".").strip("[]")
                host = f"[{bare}]" if ":" in bare else bare
                suffixes.add(parse_target(host.encode(), 443).host)
        except (TargetError, UnicodeEncodeError) as error:
            raise ValueError(f"destination {text!r}: {error}") from None
    return Rules(frozenset(suffixes), frozenset(exact), everything)


def _is_exact(text: str) -> bool:
    return "]:" in text or text.count(":") == 1


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules in force. A new one is made when they change."""

    clients: tuple[Network, ...] = ()  # empty: nobody
    permitted: Rules = field(default_factory=Rules)
    denied: Rules = field(default_factory=Rules)
    own_hosts: frozenset[str] = frozenset()  # group hostnames, members' names and addresses
    ports_http: frozenset[int] = frozenset({17080})
    ports_https: frozenset[int] = frozenset({17443})

    @classmethod
    def build(
        cls,
        *,
        hosts: Iterable[str],
        destinations: Iterable[str],
        own_hosts: Iterable[str] = (),
        ports_http: Iterable[int] = (17080,),
        ports_https: Iterable[int] = (17443,),
    ) -> "Policy":
        """From lists of texts. Raises ValueError, naming what is wrong."""
        destinations = list(destinations)
        return cls(
            tuple(ip_network(host) for host in hosts),
            parse_rules(text for text in destinations if not text.startswith("!")),
            parse_rules(text[1:] for text in destinations if text.startswith("!")),
            frozenset(_own_host(host) for host in own_hosts if host),
            frozenset(ports_http),
            frozenset(ports_https),
        )

    def may_ask(self, client: str) -> bool:
        """Whether a client with this address may use the proxy; ::ffff:a.b.c.d is judged as IPv4."""
        try:
            address = unmapped(ip_address(client.partition("%")[0]))
        except ValueError:
            return False
        return any(address in network for network in self.clients)

    def decide(self, target: Target) -> Decision:
        """What becomes of a request to `target`, before anything is resolved."""
        if target.host in self.own_hosts:
            if target.port in self.ports_http:
                return ToFiles("http")
            if target.port in self.ports_https:
                return ToFiles("https")
        if target.is_number:
            return Refused(403, "target is an address in an unusual spelling")
        if target in self.denied.exact or self.denied.names(target):
            return Refused(403, "target is denied")
        if target in self.permitted.exact:
            return Allowed(any_address=True)
        if target.host in self.own_hosts or self.denied.everything:
            return Refused(403, "target is not allowed")
        if self.permitted.names(target) and target.port in WEB_PORTS:
            return self._literal(target)
        if self.permitted.everything:
            return self._literal(target)
        return Refused(403, "target is not allowed")

    def judge_address(self, address: Address | str) -> str | None:
        """Why an address that a name resolved to may not be dialled; None when it may."""
        if str(address) in self.own_hosts:
            return "address of a station"
        if str(address) in self.denied.suffixes:
            return "denied address"
        return judge(address)

    def _literal(self, target: Target) -> Decision:
        """An address needs no resolver to be judged."""
        reason = judge(target.address) if target.address is not None else None
        return Refused(403, f"target has a {reason}") if reason else Allowed()


def _own_host(text: str) -> str:
    host = f"[{text}]" if ":" in text and not text.startswith("[") else text
    return parse_target(host.encode(), 443).host
