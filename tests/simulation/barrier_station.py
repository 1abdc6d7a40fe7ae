"""One simulated station: the real barrier, and the plainest driver around it that keeps the promises of a driver."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from station.model.identity import Revision
from station.model.now import Now
from station.model.publication import Publication
from station.publish.barrier import Barrier
from station.publish.effects import Alarm, Announce, Effect, Flip, LinkLive, WritePublication
from station.publish.view import (
    Freeze,
    Holdings,
    Member,
    Registered,
    SourceState,
    View,
)

if TYPE_CHECKING:
    from tests.simulation.barrier_world import World

SOURCE = "ol9_baseos_latest"
SIZE = 10.0  # of every revision; a station fetches `speed` of it each second


@dataclass
class Storage:
    """A storage path: survives its stations, may be shared by several, may be lost."""

    orders: dict[Revision, int] = field(default_factory=dict)
    done: dict[Revision, float] = field(default_factory=dict)
    live: Publication | None = None
    trouble: str = ""  # "missing": nothing can be read; "full": nothing can be written
    lost: frozenset[Revision] = frozenset()  # complete when it was last lost, or out of sight …
    lost_at: float = -1e9  # … at this time
    whole: frozenset[Revision] = frozenset()  # of which everything is done

    def complete(self) -> frozenset[Revision]:
        return frozenset() if self.trouble == "missing" else self.whole

    def fetch(self, revision: Revision, amount: float) -> None:
        self.done[revision] = self.done.get(revision, 0.0) + amount
        if self.done[revision] >= SIZE:
            self.whole |= {revision}

    def lose(self, now: float) -> None:
        self.go(now)
        self.orders, self.done, self.whole, self.live = {}, {}, frozenset(), None

    def go(self, now: float) -> None:
        """It is lost, or out of sight, from now on; its stations have not said so yet."""
        self.lost, self.lost_at = self.complete(), now


@dataclass(frozen=True)
class Message:
    """What one station sends to another: registry and status, whole."""

    sender: str
    registered: Registered | None
    freeze: tuple[int, Freeze | None]
    holdings: Holdings
    by_fill: bool
    may_write: bool
    beat: int
    wall: float


@dataclass
class Heard:
    """The newest of a peer."""

    message: Message
    at_boot: float
    wall_at_boot: float  # its wall clock minus our boot clock


def registered_key(registered: Registered | None) -> tuple[Publication, float] | tuple[()]:
    """The registry's merge: the greatest publication; of equal ones the smaller T."""
    return () if registered is None else (registered.publication, -registered.at)


@dataclass
class Station:
    """Processes, state directory, clocks."""

    world: World
    name: str
    storage: Storage
    wall_offset: float
    boot_offset: float
    speed: float = 5.0
    upstream_lag: int = 0  # by how many revisions the upstream mirror that it asks is behind
    state: str = "down"  # up, down, paused
    # the state directory
    is_member: bool = True
    registered: Registered | None = None
    freeze: tuple[int, Freeze | None] = (0, None)
    orders: dict[Revision, int] = field(default_factory=dict)
    kept: Publication | None = None
    # in memory
    barrier: Barrier | None = None
    heard: dict[str, Heard] = field(default_factory=dict)
    staged: frozenset[Revision] = frozenset()
    upstream: tuple[Revision | None, float] = (None, -1e9)
    beat: int = 0  # goes on over restarts, as a new epoch would
    waiting: list[Message] = field(default_factory=list)
    # what an observer notes
    served: Publication | None = None
    served_order: int = -1
    disturbed_at: float = -1e9
    deadline: float | None = None

    def now(self) -> Now:
        time = self.world.time
        return Now(time + self.wall_offset, time + self.boot_offset)

    def start(self) -> None:
        """A first exchange with everybody in reach, then steps. Without a state directory only a member lets us in."""
        assert self.state == "down"
        reachable = [
            peer
            for peer in self.world.stations.values()
            if peer.state == "up" and self.world.is_linked(peer.name, self.name)
        ]
        if not self.is_member and not reachable:
            return
        stored = None if self.storage.trouble == "missing" else self.storage.live
        if self.kept is None:  # with the state directory went what it showed, but for the storage
            self.served, self.served_order = stored, stored.order if stored else -1
        self.state, self.is_member = "up", True
        self.barrier = self.world.make_barrier()
        self.heard, self.staged, self.upstream = {}, frozenset(), (None, -1e9)
        self.disturbed_at = self.world.time
        self.world.tell(self.name, "starts")
        for peer in reachable:
            self.receive(peer.message(), 0.0, is_stepping=False)
        self.step()

    def stop(self, *, lose_state: bool = False) -> None:
        """Killed. What is in memory is gone."""
        self.state, self.barrier, self.deadline, self.waiting = "down", None, None, []
        self.disturbed_at = self.world.time
        if lose_state:
            self.registered, self.freeze, self.orders = None, (0, None), {}
            self.kept, self.is_member = None, False

    def tick(self) -> None:
        """Once a second: look at upstream, fetch, tell the others, step."""
        if self.state == "down" or self.state == "paused":
            return
        assert self.barrier is not None
        if self.barrier.has_duty(SOURCE) and not self.storage.trouble:
            revision, order = self.sees_upstream()
            self.upstream = (revision, self.now().boot)
            self._keep_manifest(revision, order)
        self._fetch_manifests()
        self._fetch()
        self.staged = self.storage.complete() & frozenset(self._orders())
        self.beat += 1
        self.step()
        if self.state == "up":
            self.push()

    def sees_upstream(self) -> tuple[Revision, int]:
        """The newest revision and its order, as its upstream mirror shows them."""
        return self.world.upstream[max(0, len(self.world.upstream) - 1 - self.upstream_lag)]

    def push(self) -> None:
        message = self.message()
        for peer in self.world.stations.values():
            if peer is not self:
                self.world.send(self, peer, message)

    def message(self) -> Message:
        return Message(
            self.name,
            self.registered,
            self.freeze,
            self.holdings(),
            self.by_fill(),
            self.may_write(),
            self.beat,
            self.now().wall,
        )

    def by_fill(self) -> bool:
        return bool(self.storage.trouble)

    def may_write(self) -> bool:
        """As the registry does it: not with a clock that is a minute from the median of all, ours included."""
        now = self.now()
        offsets = [
            heard.wall_at_boot + now.boot - now.wall
            for heard in self.heard.values()
            if now.boot - heard.at_boot < 5
        ]
        if all(abs(offset) <= 60 for offset in offsets):
            return True  # nearly always, and without a median
        return abs(statistics.median([*offsets, 0.0])) <= 60

    def holdings(self) -> Holdings:
        return self._holdings(self._source_state())

    def _holdings(self, state: SourceState) -> Holdings:
        assert self.barrier is not None
        candidate, complete = self.barrier.candidate(SOURCE), self.storage.complete()
        return Holdings(
            orders=self._orders(),
            complete=complete,
            staged=self.staged & complete,
            candidate=candidate,
            progress=self.storage.done.get(candidate, 0.0) if candidate else 0.0,
            live=self.barrier.live(SOURCE),
            greatest=state.greatest,
        )

    def receive(self, message: Message, journey: float, *, is_stepping: bool = True) -> None:
        """`journey`: how long the receiver takes the message to have travelled, seconds."""
        if self.state == "paused":
            self.waiting = [*self.waiting[-9:], message]
        if self.state != "up":
            return
        boot = self.now().boot
        before = self.heard.get(message.sender)
        is_changed = before is None or before.message.holdings != message.holdings
        if before is None or before.message.beat <= message.beat:
            self.heard[message.sender] = Heard(message, boot, message.wall + journey - boot)
        if registered_key(message.registered) > registered_key(self.registered):
            self.registered, is_changed = message.registered, True
            self.world.note_received(self)
        if message.freeze[0] > self.freeze[0]:
            self.freeze, is_changed = message.freeze, True
        if is_changed and is_stepping:
            self.step()

    def step(self) -> None:
        """Do what the barrier says; a publication that we wrote is seen at once."""
        assert self.barrier is not None
        todo: list[Effect] = self.barrier.step(self.view(), now=self.now())
        for effect in todo:
            self._do(effect)
        if any(isinstance(effect, WritePublication) for effect in todo):
            self.push()
            self.step()
            return
        deadline = self.barrier.next_deadline()
        if deadline is not None and deadline != self.deadline:
            self.world.at(deadline - self.boot_offset, self._wake(self.barrier))
        self.deadline = deadline

    def _wake(self, barrier: Barrier) -> Callable[[], None]:
        def wake() -> None:
            if self.state == "up" and self.barrier is barrier:
                self.step()

        return wake

    def _do(self, effect: Effect) -> None:
        match effect:
            case WritePublication(publication=publication, at_wall=at):
                self.world.checks.written(self, publication, at)
                written = Registered(publication, at, self.name)
                if registered_key(written) > registered_key(self.registered):
                    self.registered = written
                    self.world.note_received(self)
            case Flip(publication=publication):
                self.world.checks.flipped(self, publication)
                self.kept = publication
            case LinkLive(publication=publication):
                if not self.storage.trouble:
                    live = self.storage.live
                    self.storage.live = publication if live is None else max(live, publication)
            case Announce(publication=publication, flip_at_boot=at):
                away = at - self.now().boot
                self.world.tell(self.name, f"expects {publication.number} in {away:.3f} s")
            case Alarm(code=code, subject=subject):
                self.world.tell(self.name, f"alarm {code} {subject}")

    def view(self) -> View:
        now, state = self.now(), self._source_state()
        members = []
        for name in self.world.stations:
            if name == self.name:
                own = {SOURCE: self._holdings(state)} if self.barrier else {}
                members.append(Member(name, 0.0, own, self.by_fill(), self.may_write(), 0.0))
            elif (heard := self.heard.get(name)) is None:
                members.append(Member(name))
            else:
                offset = heard.wall_at_boot + now.boot - now.wall
                message = heard.message
                age = now.boot - heard.at_boot
                members.append(
                    Member(
                        name,
                        age,
                        {SOURCE: message.holdings},
                        message.by_fill,
                        message.may_write,
                        offset,
                    )
                )
        return View(self.name, tuple(members), {SOURCE: state})

    def _source_state(self) -> SourceState:
        return SourceState(
            registered=self.registered,
            stored=None if self.storage.trouble == "missing" else self.storage.live,
            kept=self.kept,
            upstream=self.upstream[0],
            upstream_at=self.upstream[1],
            freeze=self.freeze[1],
        )

    def _orders(self) -> dict[Revision, int]:
        if self.storage.trouble == "missing":
            return dict(self.orders)
        return self.orders | self.storage.orders

    def _keep_manifest(self, revision: Revision, order: int) -> None:
        self.orders[revision] = order
        if not self.storage.trouble:
            self.storage.orders[revision] = order

    def _fetch_manifests(self) -> None:
        """Of all that the registry or a peer shows, or is to show: from any peer in reach that has it."""
        assert self.barrier is not None
        wanted = {self.barrier.candidate(SOURCE)}
        wanted |= {self.registered.publication.revision} if self.registered else set()
        wanted |= {self.freeze[1].revision} if self.freeze[1] else set()
        lives = [heard.message.holdings.live for heard in self.heard.values()]
        wanted |= {live.revision for live in lives if live is not None}
        for revision in wanted - self._orders().keys() - {None}:
            assert revision is not None
            for peer in self.world.stations.values():
                order = peer._orders().get(revision) if self.world.reaches(peer, self) else None
                if order is not None:
                    self._keep_manifest(revision, order)
                    break

    def _fetch(self) -> None:
        assert self.barrier is not None
        revision = self.barrier.candidate(SOURCE)
        orders = self._orders()
        if self.storage.trouble or revision is None or revision not in orders:
            return
        done = self.storage.done.get(revision, 0.0)
        from_upstream = self.barrier.has_duty(SOURCE) and revision == self.sees_upstream()[0]
        from_peer = any(
            revision in peer.storage.complete()
            for peer in self.world.stations.values()
            if self.world.reaches(peer, self)
        )
        if done < SIZE and self.speed and (from_upstream or from_peer):
            self.storage.orders[revision] = orders[revision]
            self.storage.fetch(revision, self.speed)
            self.world.checks.progressed(self, revision)
