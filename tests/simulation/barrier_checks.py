"""What must be true of every history: judged from outside, with knowledge that no station has."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from station.model.identity import Revision
from station.model.publication import Publication
from station.publish.view import Registered

if TYPE_CHECKING:
    from tests.simulation.barrier_station import Heard, Station
    from tests.simulation.barrier_world import World

# Twice the largest error of a measured clock (half the longest delay), and the coarseness of floats.
SKEW_S = 0.101
# A status is up to a second old, its journey 100 ms; a lost one is repeated a second later, five times before a
# station counts as absent.
STALE_S = 6.5


class Broken(AssertionError):
    """A promise was broken. The text holds the seed and the story."""


class Checks:
    """Called by the world as things happen."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.written_true: dict[Publication, dict[str, float]] = {}  # T in true time, per writer
        self.flips: dict[Publication, dict[str, float]] = defaultdict(dict)
        self.received: dict[tuple[str, Publication], float] = {}  # 1e9: by an unknown clock
        self.chosen: set[Revision] = set()
        self.progress_at: dict[tuple[str, Revision], float] = {}
        self._done: dict[tuple[str, Revision], float] = {}
        self.complete_at: dict[Revision, list[float]] = defaultdict(list)
        self.smaller_since: dict[str, float] = {}
        self.skew_max = 0.0
        self.kinds: dict[str, int] = defaultdict(int)

    def require(self, is_true: bool, what: str) -> None:
        if not is_true:
            raise Broken(f"{what}\n{self._world.story()}")

    def progressed(self, station: Station, revision: Revision) -> None:
        """Only a change of what is done means anything: who lost it all and is as far as before stands still."""
        done, key = station.storage.done[revision], (station.name, revision)
        if done != self._done.get(key):
            self._done[key], self.progress_at[key] = done, self._world.time
        if revision in station.storage.complete():
            sharing = [s for s in self._world.stations.values() if s.storage is station.storage]
            self.complete_at[revision] += [self._world.time] * len(sharing)

    def noted(self, station: Station) -> None:
        """Called each second: which side is the station on, by what it heard?"""
        names = self._world.stations.keys()
        present = self._present(station)
        is_smaller = 2 * len(present) < len(names) or (
            2 * len(present) == len(names) and min(names) not in present
        )
        if not is_smaller:
            self.smaller_since.pop(station.name, None)
        else:
            self.smaller_since.setdefault(station.name, self._world.time)

    def _present(self, station: Station) -> set[str]:
        boot = station.now().boot
        heard = {name for name, heard in station.heard.items() if boot - heard.at_boot < 5.0}
        return heard | {station.name}

    def written(self, station: Station, publication: Publication, at: float) -> None:
        world = self._world
        world.tell(station.name, f"WRITES {_text(publication)} at {at - station.wall_offset:.3f}")
        true_at = at - station.wall_offset if at else world.time
        is_known = publication in self.written_true
        is_shown_content = any(p.revision == publication.revision for p in self.written_true)
        is_first = not self.written_true
        self.written_true.setdefault(publication, {})[station.name] = true_at
        if is_known:
            self.kinds["again"] += 1
            return
        registered = station.registered
        known = [registered.publication.number] if registered else [0]
        stored = None if station.storage.trouble == "missing" else station.storage.live
        known += [p.number for p in (stored, station.kept) if p is not None]
        known += [heard.message.holdings.greatest for heard in self._heard_present(station)]
        self.require(publication.number == 1 + max(known), f"number is not 1 + {max(known)}")
        self.noted(station)
        since = self.smaller_since.get(station.name)
        is_restrained = since is not None and world.time - since < world.rules.restraint_s - 1.5
        self.require(not is_restrained, f"{station.name} publishes on the smaller side")
        if is_first or registered is None:
            self.kinds["first"] += 1
        elif not at and self._is_lost(station, registered.publication.revision):
            self.kinds["as first"] += 1
        elif is_shown_content:
            self.kinds["shown before"] += 1
        else:
            self.kinds["new"] += 1
            self._require_one_at_a_time(station, registered)
            self._require_staged(station, publication.revision)

    def _is_lost(self, station: Station, revision: Revision) -> bool:
        """Whether nobody in reach has what is live: nothing can be worse than it is."""
        present = [self._world.stations[name] for name in self._present(station)]
        return not any(revision in one._orders() for one in present)

    def _require_one_at_a_time(self, station: Station, registered: Registered) -> None:
        if station.served == registered.publication:
            return
        times = self.written_true.get(registered.publication, {})
        pending = times.get(registered.by, 0.0) > self._world.time + SKEW_S
        self.require(not pending, "a publication is written while another waits for its T")

    def _heard_present(self, station: Station) -> list[Heard]:
        present = self._present(station)
        return [heard for name, heard in station.heard.items() if name in present]

    def _require_staged(self, writer: Station, revision: Revision) -> None:
        """Nobody who is present lacks it, but those who take their bytes by fill, and laggards."""
        world = self._world
        present = [world.stations[name] for name in self._present(writer)]
        complete = [s for s in present if self._is_complete(s, revision)]
        laggards = [s for s in present if s not in complete and not self._is_by_fill(s)]
        for station in laggards:
            name = station.name
            if station is not writer and writer.now().boot - writer.heard[name].at_boot > 1.5:
                continue  # it may have got on since; nobody could tell the writer
            self.require(self._is_laggard(station, revision), f"{name} lacks it and is no laggard")
        can = [s for s in present if not self._is_by_fill(s) and s not in laggards]
        need = max(1, min(2, len(can)))
        self.require(len(complete) >= need, f"complete on {len(complete)} only")
        self.kinds["left behind"] += bool(laggards)

    def _is_complete(self, station: Station, revision: Revision) -> bool:
        """Or was, when it last could say so."""
        storage = station.storage
        if revision in storage.complete():
            return True
        return revision in storage.lost and self._world.time - storage.lost_at < STALE_S

    def _is_by_fill(self, station: Station) -> bool:
        return station.by_fill() or self._world.time - station.disturbed_at < STALE_S

    def _is_laggard(self, station: Station, revision: Revision) -> bool:
        world = self._world
        done = sorted(self.complete_at[revision])
        self.require(bool(done), "nobody has it")
        progress = max(self.progress_at.get((station.name, revision), 0.0), done[0])
        if world.time - progress >= world.rules.stall_s - 0.1:
            return True
        return world.time - done[0] >= world.rules.patience_s - 0.1 and len(done) > 1

    def flipped(self, station: Station, publication: Publication) -> None:
        world = self._world
        world.tell(station.name, f"FLIPS to {_text(publication)}")
        self.flips[publication].setdefault(station.name, world.time)
        if station.served is not None and publication <= station.served:
            is_again = publication == station.served and world.time - station.disturbed_at < 0.5
            self.require(is_again, f"{station.name} goes down from {_text(station.served)}")
        is_rollback = publication.order < station.served_order
        self.require(
            not is_rollback or publication.revision in self.chosen,
            f"{station.name} rolls back from order {station.served_order}",
        )
        self.require(publication in self.written_true, "what nobody published is shown")
        station.served = publication
        station.served_order = publication.order

    def require_equal_flips(self) -> None:
        """Who knew of a publication in time and was not disturbed flipped at T."""
        for publication, writers in self.written_true.items():
            true_at = min(writers.values())
            writer = self._world.stations[min(writers, key=lambda name: writers[name])]
            for name, station in self._world.stations.items():
                received = self.received.get((name, publication), 1e9)
                flip = self.flips[publication].get(name)
                if received > true_at - 0.01 or flip is None or len(writers) > 1:
                    continue
                if self._world.was_disturbed(station, received - STALE_S, true_at + 0.5):
                    continue
                if self._world.was_disturbed(writer, received - STALE_S, true_at + 0.5):
                    continue
                error = abs(flip - true_at)
                self.kinds["punctual"] += 1
                self.skew_max = max(self.skew_max, error)
                self.require(
                    error <= SKEW_S / 2, f"{name} is {error:.3f} s off at {_text(publication)}"
                )


def _text(publication: Publication) -> str:
    return f"{publication.number}/{publication.order}/{publication.revision[:6]}"
