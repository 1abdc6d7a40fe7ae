"""SELinux on a station's host: labels of the ports and of the storage path, as commands. Pure.

The station itself runs unconfined in its unit's own cage. The labels are for the programs beside it that SELinux
does confine: a balancer that may connect to http ports only, an NFS, rsync or web server on the same storage.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

HTTP_PORT = "http_port_t"
PROXY_PORT = "http_cache_port_t"
# To be read by everybody who serves files; nobody but us needs to write.
STORAGE = "public_content_t"

BLANK = r"\s"

_SPECIAL = re.compile(r"[.^$*+?()\[\]{}|\\]")


@dataclass(frozen=True, slots=True)
class SelinuxFacts:
    """What `semanage port -l` and `semanage fcontext -l -C` say. `is_enabled`: SELinux is there and on."""

    is_enabled: bool = False
    ports: str = ""
    paths: str = ""


def port_commands(facts: SelinuxFacts, wanted: Mapping[int, str]) -> list[tuple[str, ...]]:
    """What gives each TCP port the type wanted of it; nothing for a port that has it."""
    if not facts.is_enabled:
        return []
    listed = list(_ports(facts.ports))
    commands: list[tuple[str, ...]] = []
    for port, kind in wanted.items():
        if any(t == kind and low <= port <= high for t, low, high in listed):
            continue
        # A port of its own in the list can only be modified, one that a range merely contains only be added.
        how = "-m" if any(low == high == port for _, low, high in listed) else "-a"
        commands.append(("semanage", "port", how, "-t", kind, "-p", "tcp", str(port)))
    return commands


def path_commands(facts: SelinuxFacts, directory: str) -> list[tuple[str, ...]]:
    """What labels the storage path and what is in it; nothing when the rule is there."""
    if not facts.is_enabled:
        return []
    rule = path_rule(directory)
    found = [line.split() for line in facts.paths.splitlines() if line.startswith(f"{rule} ")]
    if any(f":{STORAGE}:" in words[-1] for words in found):
        return []
    return [
        ("semanage", "fcontext", "-m" if found else "-a", "-t", STORAGE, rule),
        ("restorecon", "-R", directory),
    ]


def path_rule(directory: str) -> str:
    """The regular expression for a directory and all below it; semanage takes none with a blank in it."""
    escaped = _SPECIAL.sub(lambda found: "\\" + found[0], directory.rstrip("/"))
    return f"{escaped.replace(' ', BLANK)}(/.*)?"


def _ports(listing: str) -> Iterator[tuple[str, int, int]]:
    for line in listing.splitlines():
        kind, _, rest = line.partition(" ")
        protocol, _, numbers = rest.strip().partition(" ")
        if protocol != "tcp":
            continue
        for part in numbers.split(","):
            low, _, high = part.strip().partition("-")
            if low.isdecimal() and (not high or high.isdecimal()):
                yield kind, int(low), int(high or low)
