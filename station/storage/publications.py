"""Publications on the storage: `live/<number>-<order>-<revision>`. The greatest name is live; names only come."""

import os
import secrets

from station.model.identity import InvalidName
from station.model.publication import Publication
from station.runtime.durable import make_directory, write_new
from station.storage.errors import StorageError
from station.storage.intents import declare_intent, withdraw_intent
from station.storage.layout import Layout


class Publications:
    """The publications as one station reads and writes them. The caller has checked the marker."""

    def __init__(self, layout: Layout, station: str) -> None:
        self._layout = layout
        self._station = station

    def publish(self, source: str, publication: Publication) -> bool:
        """Link it. True: made; False: it was there. A lesser one than the live one changes nothing for clients.

        Raises StorageError (incomplete) when its manifest is not on this storage, FsyncFailed, OSError.
        """
        revision = publication.revision
        # A collector on another station may be about to take the revision: declare, then look.
        intent = declare_intent(self._layout, self._station, source, revision, ())
        try:
            if not self._layout.manifest(source, revision).exists():
                raise StorageError("incomplete", f"no manifest of revision {revision}")
            final = self._layout.live(source) / publication.file_name()
            make_directory(final.parent, self._layout.sources)
            temp = self._layout.partial(self._station) / f"live-{secrets.token_hex(8)}"
            return write_new(final, b"", temp=temp)
        finally:
            withdraw_intent(intent)

    def all(self, source: str) -> list[Publication]:
        """Every publication of the source, the live one last. Stray names are passed over. Raises OSError."""
        try:
            names = os.listdir(self._layout.live(source))
        except (FileNotFoundError, NotADirectoryError):
            return []
        found = []
        for name in names:
            try:
                found.append(Publication.parse(name))
            except (InvalidName, ValueError):
                continue
        return sorted(found)

    def live(self, source: str) -> Publication | None:
        """The greatest publication. Raises OSError."""
        return max(self.all(source), default=None)

    def drop(self, source: str, publication: Publication) -> None:
        """Forget a superseded publication. The greatest is never dropped. Raises OSError."""
        assert publication != self.live(source), "the live publication stays"
        (self._layout.live(source) / publication.file_name()).unlink(missing_ok=True)
