from dataclasses import replace

from station.control.changes import Records
from station.control.snapshot import ANNOUNCED_MAX, OwnFacts, Shown, build_snapshot
from station.control.storage_view import StorageView
from station.model.identity import Revision
from station.model.mirror_list import derive_mirror_list
from station.model.publication import Publication
from station.model.report import SourceReport, StationReport
from station.model.snapshot import Snapshot, SourceView
from station.model.states import StorageState
from tests.unit.control.builders import FIRST, R1, R2, R3, SECOND, records, view

OWN = OwnFacts("A", "CA", ("10.0.0.0/8",), (), True, "")
THIRD = Publication(3, 30, R3)


def build(
    group: Records | None = None,
    *,
    own: OwnFacts = OWN,
    storage: StorageView | None = None,
    manifests: dict[str, dict[Revision, int]] | None = None,
    shown: Shown | None = None,
    peers: dict[str, tuple[bool, StationReport]] | None = None,
) -> Snapshot:
    group = group or records()
    listed = derive_mirror_list(
        group.sources, group.profiles, group.instances, group.references.values()
    )
    here = {"base": {R1: 10}} if manifests is None else manifests
    pictured = {"base": shown or Shown(FIRST)}
    return build_snapshot(own, group, listed, storage or view(), here, pictured, peers or {})


def base(snapshot: Snapshot) -> SourceView:
    return snapshot.sources["base"]


def test_workers_are_told_what_is_live_and_what_comes_next_and_when() -> None:
    found = base(build(shown=Shown(FIRST, SECOND, 1234.5)))
    assert (found.live, found.next, found.flip_at) == (FIRST, SECOND, 1234.5)
    assert found.key == "KEY"


def test_what_the_registry_or_a_flip_names_and_is_not_here_is_announced() -> None:
    found = base(build(records(publication=THIRD), shown=Shown(FIRST, SECOND, 1.0)))
    assert found.revisions == (R1,)
    assert found.announced == (R2, R3)


def test_what_present_stations_showed_before_is_announced_newest_first() -> None:
    r4, r5 = Revision("4" * 64), Revision("5" * 64)

    def said(*retained: Revision) -> StationReport:
        return StationReport(sources={"base": SourceReport(retained=retained)})

    peers = {"B": (True, said(R3, R1, r4)), "C": (True, said(R2)), "D": (False, said(r5))}
    found = base(build(peers=peers))
    assert found.announced == (R3, R2, r4), "R1 is here, D is away"


def test_a_long_history_of_others_is_announced_in_part() -> None:
    history = tuple(Revision(f"{n:064x}") for n in range(100))
    peers = {"B": (True, StationReport(sources={"base": SourceReport(retained=history)}))}
    assert base(build(peers=peers)).announced == history[:ANNOUNCED_MAX]


def test_live_is_whole_only_where_every_byte_can_be_read_now() -> None:
    assert base(build()).is_complete
    assert not base(build(storage=view(is_complete=False))).is_complete
    assert not base(build(storage=view(state=StorageState.MISSING))).is_complete
    assert not base(build(shown=Shown(SECOND))).is_complete


def test_copies_of_manifests_answer_while_the_storage_is_away() -> None:
    storage = view(state=StorageState.MISSING)
    assert base(build(storage=storage, manifests={"base": {R2: 20}})).revisions == (R2,)


def test_this_station_is_the_first_member_and_others_count_while_present_and_ready() -> None:
    ready = StationReport(is_ready=True, https=False)
    (own, other) = build(peers={"B": (True, ready)}).members
    assert (own.name, own.is_ready, own.https) == ("A", True, True)
    assert (other.name, other.is_ready, other.https) == ("B", True, False)
    for peers in ({}, {"B": (False, ready)}, {"B": (True, StationReport())}):
        assert not build(peers=peers).members[1].is_ready
    assert not build(own=replace(OWN, https=False)).members[0].https


def test_pins_of_profiles_and_the_list_are_told() -> None:
    snapshot = build(records(frozen={"base": R1}))
    assert snapshot.frozen == {"web": {"base": R1}}
    assert snapshot.profiles == {"web"}
    assert snapshot.listed == {"base"}


def test_proxy_lets_through_to_upstreams_unless_destinations_are_configured() -> None:
    assert build().proxy_destinations == ("upstream.example:443",)
    configured = replace(OWN, proxy_destinations=("example.com",))
    assert build(own=configured).proxy_destinations == ("example.com",)
