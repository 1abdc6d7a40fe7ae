"""The orders that sync children get: what to fetch, from which peers, with which keys."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from station.config.schema import Config
from station.control.changes import Records
from station.control.fills import Key
from station.control.storage_view import StorageView, StoredSource
from station.control.sync_plan import CopyFromPeers, FetchManifest, Work
from station.model.records import SourceRecord
from station.model.states import StorageState


class JobMaker:
    """Makes orders from what the station knows at the moment. `present`: the names of the stations that are there."""

    def __init__(
        self,
        config: Config,
        *,
        storage: Callable[[], StorageView],
        records: Callable[[], Records],
        present: Callable[[], Iterable[str]],
    ) -> None:
        self._config = config
        self._storage = storage
        self._records = records
        self._present = present

    def sync_job(self, work: Work, source: SourceRecord) -> dict[str, Any]:
        """A whole run: from upstream, or of one revision from the peers that have it."""
        stored = self._storage().sources.get(source.id, StoredSource())
        live = stored.greatest
        job = self._base(source)
        if isinstance(work, CopyFromPeers | FetchManifest):
            kind = "copy" if isinstance(work, CopyFromPeers) else "manifest"
            is_away = self._storage().state is not StorageState.READY
            return {**job, "kind": kind, "revision": str(work.revision), "is_away": is_away}
        return {
            **job,
            "kind": "sync",
            "live": str(live.revision) if live else None,
            "order": live.order if live else 0,
        }

    def fill_job(self, key: Key, is_storage_in_doubt: bool = False) -> dict[str, Any] | None:
        """One file of one revision: into the storage, or past it while that takes nothing and peers are there.

        None: there is no such source, or no way. `is_storage_in_doubt`: it is READY as far as is known, and yet took
        nothing a moment ago.
        """
        source, revision, path = key
        record = self._records().sources.get(source)
        if record is None:
            return None
        job = {**self._base(record), "revision": revision, "path": path}
        is_away = self._storage().state is not StorageState.READY
        if (is_away or is_storage_in_doubt) and revision and job["peers"]:
            return {**job, "kind": "relay"}
        return None if is_away else {**job, "kind": "fill"}

    def _base(self, source: SourceRecord) -> dict[str, Any]:
        pki = Path(self._config.state_directory) / "pki"
        return {
            "source": source.model_dump(mode="json"),
            "storage": self._config.mirror.directory,
            "station": self._config.name,
            "state": self._config.state_directory,
            "peers": self._peers(),
            "peer_tls": {
                "cert": str(pki / "peer.pem"),
                "key": str(pki / "peer.key"),
                "ca": str(pki / "peers-ca.pem"),
            },
        }

    def _peers(self) -> list[dict[str, str]]:
        stations = self._records().stations
        return [
            {"name": name, "url": f"https://{stations[name].address}:{stations[name].peer_port}"}
            for name in self._present()
            if name in stations and name != self._config.name
        ]
