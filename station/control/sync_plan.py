"""Which source this station works on next, and from where. Pure.

The station on duty asks the upstream; the others copy from it by hash what it has. Double work is harmless: every
byte is named by its hash.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass

from station.control.storage_view import StoredSource
from station.model.identity import Revision
from station.model.report import SourceReport

# Peers are near and the group waits for us; a peer that keeps failing is asked once a minute.
COPY_RETRY_AFTER_S = 2.0
COPY_RETRY_AFTER_MAX_S = 60.0


@dataclass(frozen=True, slots=True)
class AskUpstream:
    """Fetch what the upstream has now."""

    source: str
    why: str


@dataclass(frozen=True, slots=True)
class CopyFromPeers:
    """Fetch one revision that a peer has complete."""

    source: str
    revision: Revision


@dataclass(frozen=True, slots=True)
class FetchManifest:
    """Fetch the manifest of what the group shows already, so that its files can be served by fill."""

    source: str
    revision: Revision


Work = AskUpstream | CopyFromPeers | FetchManifest


@dataclass(frozen=True, slots=True)
class Attempts:
    """This station's own tries at one source; wall times in seconds."""

    failures: int = 0
    failed_at: float = 0.0
    is_due: bool = False  # the schedule says so


def choose_work(
    source: str,
    stored: StoredSource,
    own: SourceReport,
    peers: Mapping[str, SourceReport],
    attempts: Attempts,
    *,
    sharing: Container[str] = (),
    is_on_duty: bool,
    wall: float,
) -> Work | None:
    """What to do for `source` now, or None. `peers`: reports of present peers; from those in `sharing`, who are on our
    own storage, there is nothing to copy.
    """
    if not _rests(attempts, wall):
        others = {name: report for name, report in peers.items() if name not in sharing}
        shown = _shown_without_manifest(stored, others)
        if shown is not None:
            return FetchManifest(source, shown)  # clients ask for it now, and it is soon here
        copy = _worth_copying(stored, own, others)
        if copy is not None:
            return CopyFromPeers(source, copy)
    why = _reason_to_ask(stored, own, peers, attempts) if is_on_duty else ""
    return AskUpstream(source, why) if why else None


def choose_manifest(
    source: str,
    kept: Container[Revision],
    peers: Mapping[str, SourceReport],
    attempts: Attempts,
    *,
    wall: float,
) -> FetchManifest | None:
    """What to do for `source` while our storage takes nothing: get the manifests of what is shown and of what comes.

    With them this station flips with the others, and passes on the bytes that they send. `kept`: those in the state
    directory.
    """
    if _rests(attempts, wall):
        return None
    shown = sorted((peer.live for peer in peers.values() if peer.live), reverse=True)
    wanted = [publication.revision for publication in shown[:1]]
    wanted += [Revision(peer.candidate) for peer in peers.values() if peer.candidate]
    for revision in wanted:
        if revision not in kept and any(revision in peer.revisions for peer in peers.values()):
            return FetchManifest(source, revision)
    return None


def has_complete_live(stored: StoredSource) -> bool:
    """True when the greatest publication on the storage has all its bytes."""
    live = stored.greatest
    facts = stored.revisions.get(live.revision) if live else None
    return bool(facts and facts.is_complete)


def _rests(attempts: Attempts, wall: float) -> bool:
    """Whether the last failure is so near that peers are left alone."""
    pause = min(COPY_RETRY_AFTER_S * 2 ** min(attempts.failures, 10), COPY_RETRY_AFTER_MAX_S)
    return bool(attempts.failures) and wall < attempts.failed_at + pause


def _worth_copying(
    stored: StoredSource, own: SourceReport, peers: Mapping[str, SourceReport]
) -> Revision | None:
    """What the barrier waits for comes first, however much newer content a peer has by now."""
    shown = sorted((peer.live for peer in peers.values() if peer.live), reverse=True)
    waited_for = [own.candidate, *(peer.candidate for peer in peers.values())]
    wanted = [*waited_for, *(publication.revision for publication in shown)]
    for revision in map(Revision, filter(None, wanted)):
        facts = stored.revisions.get(revision)
        is_here = facts is not None and facts.is_complete
        if not is_here and any(revision in peer.complete for peer in peers.values()):
            return revision
    return None


def _shown_without_manifest(
    stored: StoredSource, peers: Mapping[str, SourceReport]
) -> Revision | None:
    shown = [peer.live for peer in peers.values() if peer.live]
    greatest = max(shown, default=None)
    if greatest is None or greatest.revision in stored.revisions:
        return None
    has_it = any(greatest.revision in peer.revisions for peer in peers.values())
    return greatest.revision if has_it else None


def _reason_to_ask(
    stored: StoredSource,
    own: SourceReport,
    peers: Mapping[str, SourceReport],
    attempts: Attempts,
) -> str:
    reports = [own, *peers.values()]
    checked_at = max(report.checked_at for report in reports)
    requested_at = max(report.requested_at for report in reports)
    if requested_at > max(checked_at, attempts.failed_at):
        return "requested"
    if attempts.is_due:
        return "scheduled"
    if attempts.failures:
        return ""  # the schedule tries again
    if not has_complete_live(stored) and not any(peer.complete for peer in peers.values()):
        return "new on the mirror list"
    return ""
