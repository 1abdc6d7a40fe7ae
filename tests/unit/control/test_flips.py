"""What the barrier decides is carried out; what it sees is what the reports say."""

import asyncio

from station.control.flips import Flips, other_member, own_member, source_state
from station.control.snapshot import Shown
from station.model.now import Now
from station.model.publication import Publication
from station.model.records import PublicationRecord, SourceRecord
from station.model.report import SourceReport, StationReport
from station.model.states import StorageState
from station.publish.view import Freeze, SourceState, View
from station.runtime.tasks import Tasks
from tests.unit.control.builders import FIRST, R1, R2, SECOND, URL, view

HOLDS_R1 = SourceReport(revisions={R1: 10}, complete=frozenset({R1}))


def report(source: SourceReport = HOLDS_R1, state: str = "ready") -> StationReport:
    return StationReport(may_write=True, storage_state=state, sources={"base": source})


class Bench:
    """A station alone, and what its barrier made it do."""

    def __init__(self) -> None:
        self.written: list[PublicationRecord] = []
        self.linked: list[Publication] = []
        self.kept: list[Publication] = []
        self.tasks = Tasks()
        self.flips = Flips(
            self.tasks, write=self._write, link=self._link, keep=self._keep, station="A"
        )

    def step(self, state: SourceState, at: float) -> None:
        world = View("A", (own_member("A", report()),), {"base": state})
        self.flips.step(world, now=Now(wall=1e9 + at, boot=at))

    async def _write(self, source: str, record: PublicationRecord) -> None:
        self.written.append(record)

    async def _link(self, source: str, publication: Publication) -> None:
        self.linked.append(publication)

    async def _keep(self, source: str, publication: Publication) -> None:
        self.kept.append(publication)


async def test_what_the_storage_shows_is_shown_linked_and_kept_from_the_start() -> None:
    bench = Bench()
    bench.step(SourceState(stored=FIRST), 100.0)
    await asyncio.sleep(0)
    assert bench.flips.shown({"base": SourceState()}) == {"base": Shown(FIRST)}
    assert (bench.flips.flips, bench.kept, bench.linked) == (1, [FIRST], [FIRST])
    await bench.tasks.close()


async def test_a_registered_publication_is_announced_and_shown_at_its_time() -> None:
    bench = Bench()
    bench.step(SourceState(stored=FIRST), 100.0)
    record = PublicationRecord(number=2, order=20, revision=R2, at=1e9 + 102.5, by="A")
    state = source_state("base", None, record, view(), HOLDS_R1, None, FIRST)
    for at in (100.5, 101.5):
        bench.step(state, at)
    assert bench.flips.shown({"base": state})["base"] == Shown(FIRST, SECOND, 102.5)
    bench.step(state, 102.5)
    assert bench.flips.shown({"base": state})["base"] == Shown(SECOND)
    assert bench.flips.flips == 2
    await bench.tasks.close()


async def test_the_station_on_duty_writes_the_first_publication() -> None:
    bench = Bench()
    state = SourceState(upstream=R1, upstream_at=99.0)
    for at in range(100, 106):
        bench.step(state, float(at))
    await asyncio.sleep(0)
    assert [(r.number, r.order, r.revision, r.by) for r in bench.written[:1]] == [(1, 10, R1, "A")]
    await bench.tasks.close()


def test_a_member_without_a_writable_storage_counts_by_fill() -> None:
    assert not own_member("A", report()).by_fill
    member = other_member("B", report(state=StorageState.FULL.value), 1.5, 0.02)
    assert member.by_fill
    assert (member.heartbeat_age, member.clock_offset_s) == (1.5, 0.02)
    assert member.holds("base").orders == {R1: 10}


def test_a_look_at_upstream_counts_once_its_manifest_is_here() -> None:
    looked = source_state("base", None, None, view(), HOLDS_R1, (R1, 5.0), None)
    assert (looked.upstream, looked.upstream_at) == (R1, 5.0)
    ahead = source_state("base", None, None, view(), HOLDS_R1, (R2, 5.0), None)
    assert ahead.upstream is None


def test_a_freeze_is_seen_by_the_barrier_only_while_it_is_set() -> None:
    def freeze(record: SourceRecord) -> Freeze | None:
        return source_state("base", record, None, view(), HOLDS_R1, None, None).freeze

    assert freeze(SourceRecord(id="base", url=URL, frozen_revision=R1)) is None
    assert freeze(SourceRecord(id="base", url=URL, is_frozen=True)) == Freeze()
    record = SourceRecord(id="base", url=URL, is_frozen=True, frozen_revision=R1, frozen_until=9.0)
    assert freeze(record) == Freeze(R1, 9.0)
