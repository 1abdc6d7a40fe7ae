"""Collection: what nobody names goes after it waited; what somebody names never does, whoever is writing meanwhile."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from station.repo.retention import GRACE_S
from station.storage.collect import Collector, CollectPolicy, CollectReport, purge_source
from station.storage.errors import StorageError
from station.storage.intents import withdraw_intent
from station.storage.pool import Pool
from station.storage.publications import Publications
from station.storage.revisions import Revisions
from station.storage.roots import Roots
from station.storage.waiting import LOOK_S_MAX
from tests.unit.storage.shelf import SOURCE, STATION, Staged, a_layout, check_whole, put, sha_of

RETAIN_S = 72 * 3600.0
AT_ONCE = CollectPolicy(retain_s=0.0, wait_s=0.0)
PATIENT = CollectPolicy(retain_s=RETAIN_S)


class World:
    """One storage, one collector, and a clock that is moved by hand."""

    def __init__(self, directory: Path) -> None:
        self.layout = a_layout(directory)
        self.boot = 1000.0
        self.collector = self.collector_of(STATION, directory / "state")

    def collector_of(self, station: str, state: Path) -> Collector:
        state.mkdir(exist_ok=True)
        return Collector(self.layout, station, state, "storage-1", lambda: self.boot)

    def collect(self, policy: CollectPolicy = PATIENT) -> CollectReport:
        report = CollectReport()
        for step in self.collector.collect(policy):
            report = step
        check_whole(self.layout)
        return report

    def look_for(self, seconds: float, policy: CollectPolicy = PATIENT) -> None:
        """A turn each hour for so long."""
        for _ in range(int(seconds // 3600)):
            self.boot += 3600
            self.collect(policy)

    def has(self, content: bytes) -> bool:
        return Pool(self.layout, STATION).has(sha_of(content))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_an_unnamed_object_goes_after_it_waited_and_a_named_one_stays(world: World) -> None:
    staged = Staged({"a.rpm": b"a"}).stage(world.layout)
    staged.publish(world.layout, 1)
    put(world.layout, b"orphan")
    assert world.collect().objects_waiting == 1
    world.look_for(GRACE_S - 3600)
    assert world.has(b"orphan")
    world.look_for(3600)
    assert not world.has(b"orphan")
    assert world.has(b"a")
    assert list(world.layout.trash(STATION).iterdir()) == []


def test_a_jump_of_the_clock_removes_nothing(world: World) -> None:
    put(world.layout, b"orphan")
    world.collect()
    world.boot += 400 * 86400
    world.collect()
    assert world.has(b"orphan")
    world.boot = 5.0  # a reboot
    world.collect()
    assert world.has(b"orphan")
    assert GRACE_S / LOOK_S_MAX >= 12


def test_lost_state_makes_everything_wait_anew(world: World, tmp_path: Path) -> None:
    put(world.layout, b"orphan")
    world.collect()
    world.look_for(GRACE_S - 3600)
    (tmp_path / "state" / "collect.json").write_bytes(b"{half")
    world.look_for(GRACE_S)
    assert world.has(b"orphan")
    world.look_for(3600)
    assert not world.has(b"orphan")


def test_a_dry_run_takes_nothing(world: World) -> None:
    put(world.layout, b"orphan")
    dry = CollectPolicy(retain_s=0.0, wait_s=0.0, is_dry_run=True)
    assert world.collect(dry).objects_removed == 1
    assert world.has(b"orphan")


def test_a_superseded_revision_is_servable_for_its_time_then_goes_with_its_objects(
    world: World,
) -> None:
    old = Staged({"old.rpm": b"old", "both.rpm": b"both"}, 1).stage(world.layout)
    old.publish(world.layout, 1)
    world.look_for(10 * 3600)
    new = Staged({"new.rpm": b"new", "both.rpm": b"both"}, 2).stage(world.layout)
    publication = new.publish(world.layout, 2)
    world.look_for(RETAIN_S)
    assert Revisions(world.layout, STATION).is_complete(SOURCE, old.revision)
    world.look_for(3600)
    assert Revisions(world.layout, STATION).revisions(SOURCE) == [new.revision]
    assert Publications(world.layout, STATION).all(SOURCE) == [publication]
    assert world.has(b"old")
    world.look_for(GRACE_S)
    assert not world.has(b"old")
    assert world.has(b"both") and world.has(b"new")


def test_frozen_and_staged_revisions_stay(world: World) -> None:
    revisions = [Staged({f"{n}.rpm": b"%d" % n}, n).stage(world.layout) for n in (1, 2, 3)]
    revisions[2].publish(world.layout, 1)
    policy = CollectPolicy(
        retain_s=0.0,
        wait_s=0.0,
        frozen={SOURCE: [revisions[0].revision]},
        staged={SOURCE: [revisions[1].revision]},
    )
    world.look_for(2 * GRACE_S, policy)
    assert len(Revisions(world.layout, STATION).revisions(SOURCE)) == 3


def test_purging_a_source_leaves_what_others_use(world: World) -> None:
    Staged({"a.rpm": b"a", "b.rpm": b"b"}).stage(world.layout).publish(world.layout, 1)
    other = Staged({"a.rpm": b"a"}, 9)
    other.fetch(world.layout)
    Revisions(world.layout, STATION).add_manifest("other", other.revision, other.manifest)
    assert purge_source(world.layout, STATION, SOURCE) == 1
    assert purge_source(world.layout, STATION, SOURCE) == 0
    world.collect(AT_ONCE)
    assert world.has(b"a")
    assert not world.has(b"b")


def test_a_damaged_manifest_or_intent_stops_the_collector(world: World) -> None:
    staged = Staged({"a.rpm": b"a"}).stage(world.layout)
    staged.publish(world.layout, 1)
    put(world.layout, b"orphan")
    path = world.layout.manifest(SOURCE, staged.revision)
    path.write_bytes(b"bit rot\n")
    with pytest.raises(StorageError):
        world.collect(AT_ONCE)
    assert world.has(b"a") and world.has(b"orphan")


def a_sync(world: World, staged: Staged) -> Iterator[None]:
    """What a sync does, step by step."""
    intent = staged.declare(world.layout)
    yield
    staged.fetch(world.layout)
    yield
    Revisions(world.layout, staged.station).add_manifest(SOURCE, staged.revision, staged.manifest)
    yield
    try:
        staged.finish(world.layout)
    except StorageError as error:
        assert error.code == "incomplete"  # seen before it was said: it fetches once more
        yield
        staged.fetch(world.layout)
        staged.finish(world.layout)
    yield
    withdraw_intent(intent)
    yield


@pytest.mark.parametrize("lead", range(0, 14))
@pytest.mark.parametrize("writer_steps", [1, 6])
def test_a_sync_at_any_moment_of_a_collection_ends_whole(
    world: World, lead: int, writer_steps: int
) -> None:
    """`lead` steps of the collector, then `writer_steps` of a sync of another station for each further one."""
    for content in (b"a", b"b", b"c"):
        put(world.layout, content)  # left over from before, named by nobody
    staged = Staged({f"{n}.rpm": n.encode() for n in "abc"}, station="B")
    collection, sync = world.collector.collect(AT_ONCE), a_sync(world, staged)
    collecting = True
    for _ in range(lead):
        collecting = collecting and next(collection, None) is not None
    syncing = True
    while syncing:
        for _ in range(writer_steps):
            syncing = syncing and next(sync, True) is None
        collecting = collecting and next(collection, None) is not None
    while collecting:
        collecting = next(collection, None) is not None
    check_whole(world.layout)
    if not Revisions(world.layout, "B").is_complete(SOURCE, staged.revision):
        pytest.fail("the sync did not end complete")
    staged.publish(world.layout, 1)
    world.collect(AT_ONCE)
    assert all(world.has(content) for content in (b"a", b"b", b"c"))


@pytest.mark.parametrize("lead", range(0, 10))
def test_two_collectors_at_once_remove_only_what_nobody_names(
    world: World, tmp_path: Path, lead: int
) -> None:
    Staged({"a.rpm": b"a"}).stage(world.layout).publish(world.layout, 1)
    for n in range(5):
        put(world.layout, b"orphan %d" % n)
    other = world.collector_of("B", tmp_path / "state-B")
    first, second = world.collector.collect(AT_ONCE), other.collect(AT_ONCE)
    for _ in range(lead):
        next(first, None)
    running = [first, second]
    while running:
        running = [one for one in running if next(one, None) is not None]
    check_whole(world.layout)
    assert world.has(b"a")
    assert not any(world.has(b"orphan %d" % n) for n in range(5))


def test_what_a_killed_collector_took_is_linked_back_when_it_is_named(world: World) -> None:
    staged = Staged({"a.rpm": b"a"})
    staged.fetch(world.layout)
    trash = world.layout.trash("B")  # of a station that never came back
    trash.mkdir(parents=True)
    world.layout.pool(sha_of(b"a")).rename(trash / sha_of(b"a"))
    (trash / sha_of(b"x")).write_bytes(b"x")
    staged.declare(world.layout)
    report = world.collect()
    assert world.has(b"a")
    assert (report.objects_linked_back, report.objects_removed) == (1, 1)
    assert list(trash.iterdir()) == []


@pytest.mark.parametrize("is_published", [True, False])
def test_a_revision_taken_by_a_killed_collector_comes_back_when_it_is_wanted(
    world: World, is_published: bool
) -> None:
    staged = Staged({"a.rpm": b"a"}).stage(world.layout)
    if is_published:
        staged.publish(world.layout, 1)
    else:
        staged.declare(world.layout)
    trash = world.layout.trash(STATION)
    trash.mkdir(parents=True, exist_ok=True)
    taken = trash / f"revision-{staged.revision}-{SOURCE}-0123456789abcdef"
    world.layout.revision(SOURCE, staged.revision).rename(taken)
    world.collector.recover()
    assert Revisions(world.layout, STATION).is_complete(SOURCE, staged.revision)
    assert not taken.exists()


def test_a_revision_taken_and_wanted_by_nobody_is_removed(world: World) -> None:
    old = Staged({"a.rpm": b"a"}, 1).stage(world.layout)
    Staged({"a.rpm": b"a"}, 2).stage(world.layout).publish(world.layout, 2)
    trash = world.layout.trash(STATION)
    trash.mkdir(parents=True, exist_ok=True)
    taken = trash / f"revision-{old.revision}-{SOURCE}-0123456789abcdef"
    world.layout.revision(SOURCE, old.revision).rename(taken)
    world.collector.recover()
    assert list(trash.iterdir()) == []


def test_roots_hold_what_was_added(world: World) -> None:
    roots = Roots()
    shas = [sha_of(b"%d" % n) for n in range(2000)]
    for sha in shas[::2]:
        roots.add(sha)
    assert [sha for sha in sorted(shas) if roots.has(sha)] == sorted(shas[::2])
    with pytest.raises(ValueError):
        roots.add("short")


def test_files_that_are_none_of_ours_are_left_alone(world: World) -> None:
    put(world.layout, b"orphan")
    strange = world.layout.pool_directory / "ab" / ".nfs000000123"
    strange.parent.mkdir(exist_ok=True)
    strange.touch()
    (world.layout.sources / "notes.txt").touch()
    world.collect(AT_ONCE)
    assert strange.exists()
    assert not world.has(b"orphan")
