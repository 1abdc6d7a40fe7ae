"""What this station last showed of each source, on its own disk: a restart never shows less, whatever else was lost.

`state_directory/live/<source>/<publication>`, empty files; the greatest name counts, lesser ones are removed after it
is durable.
"""

from contextlib import suppress
from pathlib import Path

from station.model.identity import InvalidName, SourceId
from station.model.publication import Publication
from station.runtime.durable import make_directory, sync_directory, write_new


class Kept:
    """Reads once at start; `keep` is called with each flip, in a thread."""

    def __init__(self, state_directory: Path) -> None:
        self._state = state_directory
        self._root = state_directory / "live"
        self._greatest: dict[str, Publication] = {}
        with suppress(FileNotFoundError):
            for directory in self._root.iterdir():
                if found := [p for p in map(_parse, _names(directory)) if p is not None]:
                    self._greatest[directory.name] = max(found)

    def of(self, source: str) -> Publication | None:
        """The greatest publication of `source` that was ever live here."""
        return self._greatest.get(source)

    def keep(self, source: SourceId, publication: Publication) -> None:
        """Durable when this returns. Raises OSError; the publication is then live all the same."""
        directory = self._root / source
        make_directory(directory, self._state)
        name = publication.file_name()
        write_new(directory / name, b"", temp=self._state / f"live-{source}.new")
        self._greatest[source] = max(publication, self._greatest.get(source, publication))
        lesser = [known for known in _names(directory) if known < name]
        for known in lesser:
            (directory / known).unlink(missing_ok=True)
        if lesser:
            sync_directory(directory)


def _names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def _parse(name: str) -> Publication | None:
    with suppress(InvalidName):
        return Publication.parse(name)
    return None
