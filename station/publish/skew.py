"""How far the stations are apart: live and staged of each source and station, and for how long they differed."""

from collections.abc import Mapping
from dataclasses import dataclass

from station.model.identity import Revision
from station.model.publication import Publication
from station.publish.rules import RULES, Rules
from station.publish.view import Around, Holdings, View


@dataclass(frozen=True, slots=True)
class SkewCell:
    """One source at one station, as that station said last."""

    live: Publication | None
    staged: Revision | None  # the newest that its workers can open
    is_present: bool


@dataclass(frozen=True, slots=True)
class SkewRow:
    """One source at all stations."""

    source: str
    cells: Mapping[str, SkewCell]  # by station
    seconds_apart: float  # since all present stations last showed the same; 0 while they do
    longest_s: float  # the longest such time seen


class SkewMeter:
    """Fed with the same views as the barrier. Statuses travel: a window is known to about a second."""

    def __init__(self, rules: Rules = RULES) -> None:
        self._rules = rules
        self._apart_since: dict[str, float] = {}
        self._longest: dict[str, float] = {}

    def step(self, view: View, boot: float) -> tuple[SkewRow, ...]:
        """The rows of now, in the order of the view. `boot`: seconds on the boot clock."""
        for gone in self._longest.keys() - view.sources.keys():
            del self._longest[gone]
            self._apart_since.pop(gone, None)
        return tuple(self._row(source, view, boot) for source in view.sources)

    def _row(self, source: str, view: View, boot: float) -> SkewRow:
        present = {member.name for member in Around.of(view, self._rules).present}
        cells = {
            member.name: SkewCell(
                member.holds(source).live,
                _newest_staged(member.holds(source)),
                member.name in present,
            )
            for member in view.members
        }
        shown = {
            cell.live.revision if cell.live else None for cell in cells.values() if cell.is_present
        }
        if len(shown) <= 1:
            self._apart_since.pop(source, None)
            apart = 0.0
        else:
            apart = boot - self._apart_since.setdefault(source, boot)
        longest = max(apart, self._longest.get(source, 0.0))
        self._longest[source] = longest
        return SkewRow(source, cells, apart, longest)


def _newest_staged(held: Holdings) -> Revision | None:
    return max(
        held.staged, key=lambda revision: (held.orders.get(revision, -1), revision), default=None
    )
