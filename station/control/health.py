"""Whether this station should get clients, what is wrong with its storage, and what cures it. Pure."""

from collections.abc import Collection, Iterable, Mapping

from station.config.schema import Config
from station.control.storage_view import StorageView
from station.model.identity import Revision
from station.model.publication import Publication
from station.model.records import GroupRecord
from station.model.states import StorageState

CURES: Mapping[StorageState, str] = {
    StorageState.READY: "",
    StorageState.MISSING: "mount it; or, for a new one: station storage init --config FILE",
    StorageState.FOREIGN: (
        "mount the storage that belongs here; to go on with this one: station storage init --config FILE"
    ),
    StorageState.READ_ONLY: "look at the kernel's log, mend the file system, mount it read-write",
    StorageState.FULL: (
        "make room or a larger file system; station mirror purge --dry-run says what can go"
    ),
    StorageState.STALLED: "the file server or the disk does not answer: look there; nothing to do here",
    StorageState.DENIED: "the detail names what the file system must do, or whom its files must belong to",
}

# Workers would hang on it, or serve what is not ours, or have no file to send.
_NO_CLIENTS = (
    StorageState.STALLED,
    StorageState.FOREIGN,
    StorageState.DENIED,
    StorageState.MISSING,
)


def storage_refusal(storage: StorageView, shown: Mapping[str, Publication | None]) -> str:
    """Why clients are better served elsewhere; empty when the storage is good enough.

    `shown`: what is live of each mirrored source. A storage that is full or read-only serves what it has whole, and
    can fetch nothing that it lacks.
    """
    state = storage.state
    if state in _NO_CLIENTS:
        return f"storage {state.value}: {storage.detail}"
    if state is StorageState.READY:
        return ""
    lacking = [
        source for source, live in sorted(shown.items()) if not _is_whole(storage, source, live)
    ]
    return f"storage {state.value}, and {lacking[0]} is not whole on it" if lacking else ""


def lacks_manifest(
    here: Mapping[str, Collection[Revision]], shown: Mapping[str, Publication | None]
) -> str:
    """The first source whose live revision cannot be looked up here; empty when all can. `shown` as above."""
    for source, live in sorted(shown.items()):
        if live is not None and live.revision not in here.get(source, ()):
            return source
    return ""


def differences(config: Config, group: GroupRecord) -> list[str]:
    """Where the configuration file and the group record differ, both values named."""
    pairs = [
        ("compartment", config.compartment, group.compartment),
        ("hostname", config.hostname, group.hostname),
        ("proxy.port", config.proxy.port, group.ports.proxy),
        ("mirror.port", config.mirror.port, group.ports.http),
        ("mirror.sslport", config.mirror.sslport, group.ports.https),
    ]
    return [
        f"{key}: the file says {ours}, the group {theirs}; the group's holds"
        for key, ours, theirs in pairs
        if ours != theirs
    ]


def certificate_warnings(names: Iterable[str] | None, hostname: str, address: str) -> list[str]:
    """What clients by https will complain of. `names`: of the public certificate; None: it cannot be read."""
    if names is None:
        return ["the public certificate cannot be read: https clients will be refused"]
    found = []
    known = [name.lower() for name in names]
    if not covers(known, hostname):
        said = ", ".join(known) or "nobody"
        found.append(
            f"the public certificate is for {said} and not for {hostname}: https clients of the balancer will refuse it"
        )
    if address and not covers(known, address):
        found.append(
            f"the public certificate lacks {address}: this station is left out of https mirrorlists"
        )
    return found


def covers(names: Iterable[str], host: str) -> bool:
    """Whether a certificate for `names` is good for `host` (RFC 6125: a star stands for one label)."""
    host = host.lower()
    _, _, parent = host.partition(".")
    return any(name.lower() in (host, f"*.{parent}") for name in names)


def _is_whole(storage: StorageView, source: str, live: Publication | None) -> bool:
    if live is None:
        return True  # nothing is shown yet, so nothing can be missing
    stored = storage.sources.get(source)
    facts = stored.revisions.get(live.revision) if stored else None
    return bool(facts and facts.is_complete)
