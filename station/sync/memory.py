"""What this station alone remembers of a source between syncs, in its state directory: how to ask "anything new?", and
when it last had an answer.

Losing it costs one unconditional request.
"""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from station.model.identity import InvalidName, Revision, SourceId
from station.runtime.durable import replace_local
from station.sync.failure import SyncFailed

if TYPE_CHECKING:
    from station.sync.index import Seen

MEMORY_BYTES_MAX = 8192


@dataclass(frozen=True, slots=True)
class Memory:
    """The last repomd.xml of `url` that led to a complete `revision`, by its validators and its sha256.

    `looked_at`: when upstream was last found to have it, wall seconds.
    """

    url: str
    revision: Revision
    repomd_sha256: str
    etag: str
    last_modified: str
    looked_at: float = 0.0

    @classmethod
    def of(cls, url: str, revision: Revision, seen: "Seen", looked_at: float) -> "Memory":
        """What to remember of `seen`."""
        digest = hashlib.sha256(seen.content).hexdigest()
        return cls(url, revision, digest, seen.etag, seen.last_modified, looked_at)

    def is_same(self, seen: "Seen") -> bool:
        """Whether upstream sent what is remembered, although it was asked with validators."""
        return hashlib.sha256(seen.content).hexdigest() == self.repomd_sha256

    def validators(self) -> dict[str, str]:
        """For a conditional request."""
        return {"etag": self.etag, "last_modified": self.last_modified}


def recall(state: Path, source: SourceId, url: str) -> Memory | None:
    """What is remembered about `url`; None when nothing is, or nothing legible."""
    try:
        with _path(state, source).open("rb") as file:
            wire = json.loads(file.read(MEMORY_BYTES_MAX))
        found = Memory(**{**wire, "revision": Revision.parse(wire["revision"])})
        return found if found.url.rstrip("/") == url.rstrip("/") else None
    except (OSError, ValueError, KeyError, TypeError, InvalidName):
        return None


def remember(state: Path, source: SourceId, memory: Memory) -> None:
    """Keep it. A state directory that cannot be written costs a request later, not this sync."""
    with contextlib.suppress(OSError):
        path = _path(state, source)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_local(path, json.dumps(asdict(memory)).encode())


@contextlib.contextmanager
def alone(state: Path, source: SourceId) -> Iterator[None]:
    """One process of this station at a time works on a source: its partials have one writer.

    Raises SyncFailed "busy", "storage" (the state directory cannot be written).
    """
    path = _path(state, source).with_suffix(".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SyncFailed("storage", f"{path}: {error.strerror}", retriable=True) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise SyncFailed(
            "busy", f"another process of this station works on {source}", retriable=True
        ) from error
    finally:
        os.close(fd)


def _path(state: Path, source: SourceId) -> Path:
    return state / "sync" / f"{source}.json"
