"""The barrier with one rule taken away each: the simulator must find every one of them out."""

from collections.abc import Callable
from dataclasses import replace

from station.model.now import Now
from station.publish.barrier import Barrier
from station.publish.effects import Effect
from station.publish.rules import Rules
from station.publish.view import Around, Freeze, Holdings, View
from tests.simulation.barrier_station import SOURCE


class _Blinkered(Barrier):
    """Sees the world with one thing missing."""

    def step(self, view: View, *, now: Now) -> list[Effect]:
        return super().step(self.look(view), now=now)

    def look(self, view: View) -> View:
        raise NotImplementedError

    def with_holdings(self, view: View, change: Callable[[Holdings], Holdings]) -> View:
        members = [
            replace(m, holdings={s: change(held) for s, held in m.holdings.items()})
            for m in view.members
        ]
        return replace(view, members=tuple(members))


class TrustsClocks(_Blinkered):
    """T as if all wall clocks were equal."""

    def look(self, view: View) -> View:
        return replace(view, members=tuple(replace(m, clock_offset_s=0.0) for m in view.members))


class ForgetsStorage(_Blinkered):
    """Numbers from the registry alone."""

    def look(self, view: View) -> View:
        sources = {
            name: replace(state, stored=None, kept=None) for name, state in view.sources.items()
        }
        view = self.with_holdings(view, lambda held: replace(held, live=None, greatest=0))
        return replace(view, sources=sources)


class CountsNobody(_Blinkered):
    """Takes those it hears for the whole group: no side is ever the smaller one."""

    def look(self, view: View) -> View:
        return replace(view, members=Around.of(view).present)


class TakesManifestsForBytes(_Blinkered):
    """A revision whose manifest is there counts as staged."""

    def look(self, view: View) -> View:
        return self.with_holdings(
            view,
            lambda held: replace(
                held, staged=frozenset(held.orders), complete=frozenset(held.orders)
            ),
        )


class FollowsOlderContent(_Blinkered):
    """Takes every rollback for a chosen one."""

    def look(self, view: View) -> View:
        state, live = view.sources[SOURCE], self.live(SOURCE)
        shown = state.registered.publication if state.registered else None
        if shown is None or live is None or shown.order >= live.order:
            return view
        return replace(view, sources={SOURCE: replace(state, freeze=Freeze(shown.revision))})


def _impatient(rules: Rules) -> Barrier:
    """Leaves laggards behind after a second."""
    return Barrier(replace(rules, stall_s=1.0))


def _unrestrained(rules: Rules) -> Barrier:
    """The smaller side goes on after a second."""
    return Barrier(replace(rules, restraint_s=1.0))


# Those that random histories find soon; `FollowsOlderContent` has a history of its own.
VARIANTS: dict[str, Callable[[Rules], Barrier]] = {
    "trusts clocks": TrustsClocks,
    "forgets storage": ForgetsStorage,
    "counts nobody": CountsNobody,
    "takes manifests for bytes": TakesManifestsForBytes,
    "is impatient": _impatient,
    "is unrestrained": _unrestrained,
}
