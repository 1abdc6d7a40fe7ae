"""Real sync children for tests: a storage, a state directory, an upstream's source, one job at a time."""

import asyncio
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from station.repo.manifest import Entry, iterate
from station.storage.layout import Layout
from station.storage.marker import init_storage
from station.sync.launcher import Launcher

JOB_TIMEOUT_S = 60.0

# Faults take seconds in tests, not minutes.
QUICK = {
    "retry_s": 0.05,
    "answer_s": 4.0,
    "rate_window_s": 2.0,
    "total_s": 15.0,
    "small_total_s": 10.0,
}


@dataclass
class Syncing:
    """One station's syncs of one source. `source` and `limits` may be changed between jobs."""

    directory: Path
    url: str
    station: str = "StationA"
    source: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)  # e.g. QUICK; else the product's
    environment: dict[str, str] = field(default_factory=dict)
    peers: list[dict[str, str]] = field(default_factory=list)
    peer_tls: dict[str, str] | None = None

    def __post_init__(self) -> None:
        self.storage = self.directory / "storage"
        self.state = self.directory / "state"
        self.storage.mkdir(parents=True, exist_ok=True)
        self.state.mkdir(parents=True, exist_ok=True)
        self.layout = Layout(self.storage)
        init_storage(self.layout, "test-group")
        self.source = {"id": "lab", "url": self.url} | self.source

    def job(self, kind: str = "sync", **fields: Any) -> dict[str, Any]:
        """The order as control gives it."""
        return {
            "kind": kind,
            "source": self.source,
            "storage": str(self.storage),
            "state": str(self.state),
            "station": self.station,
            "peers": self.peers,
            "peer_tls": self.peer_tls,
            "limits": self.limits,
            **fields,
        }

    def launcher(self) -> Launcher:
        """Starts children with this station's environment."""
        return Launcher(dict(os.environ) | self.environment)

    async def events(self, kind: str = "sync", **fields: Any) -> list[dict[str, Any]]:
        """All events of one job."""
        async with asyncio.timeout(JOB_TIMEOUT_S):
            return [e async for e in self.launcher().start(self.job(kind, **fields))]

    async def run(self, kind: str = "sync", **fields: Any) -> dict[str, Any]:
        """The last event of one job."""
        return (await self.events(kind, **fields))[-1]

    def entries(self, revision: str) -> dict[str, Entry]:
        """The manifest of a revision, by path."""
        manifest = self.layout.manifest("lab", revision).read_bytes()
        return {entry.path: entry for entry in iterate(manifest)}

    def stored(self, revision: str) -> dict[str, str]:
        """Path → sha256 of the bytes that a client of this revision gets, hashed now."""
        return {
            path: hashlib.sha256(self.layout.pool(entry.sha256).read_bytes()).hexdigest()
            for path, entry in self.entries(revision).items()
        }

    def pool(self) -> set[str]:
        """The checksums of all objects in the pool."""
        return {path.name for path in self.layout.pool_directory.glob("??/*")}

    def is_complete(self, revision: str) -> bool:
        """Whether the revision was sealed."""
        return self.layout.complete("lab", revision).exists()

    def complete_revisions(self) -> list[str]:
        """All sealed revisions."""
        return [path.parent.name for path in self.layout.sources.glob("lab/*/complete")]

    def left_over(self) -> list[str]:
        """Partials and intents that a job left behind."""
        staging = self.layout.staging(self.station)
        found = [*staging.glob("partial/*"), *staging.glob("intents/*")]
        return sorted(path.name for path in found)
