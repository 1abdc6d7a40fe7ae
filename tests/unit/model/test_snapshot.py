import json

from station.model.identity import Revision
from station.model.publication import Publication
from station.model.snapshot import MemberView, Snapshot, SourceView, from_wire, to_wire

R1, R2 = Revision("1" * 64), Revision("2" * 64)


def test_a_snapshot_survives_the_wire() -> None:
    snapshot = Snapshot(
        number=7,
        is_ready=True,
        station="StationA",
        sources={
            "base": SourceView(
                live=Publication(1, 2, R1),
                next=Publication(2, 3, R2),
                flip_at=12.5,
                revisions=(R1, R2),
                key="KEY",
                announced=(R2,),
                is_complete=True,
            )
        },
        listed=frozenset({"base"}),
        frozen={"web": {"base": R1}},
        profiles=frozenset({"web"}),
        members=(MemberView("StationA", "a.example"), MemberView("StationB", "b.example", False)),
        former_hostnames=("old.example.com",),
        proxy_hosts=("10.0.0.0/8",),
    )
    assert from_wire(json.loads(json.dumps(to_wire(snapshot)))) == snapshot


def test_only_other_ready_members_could_answer_instead() -> None:
    members = (MemberView("A", "a"), MemberView("B", "b", False), MemberView("C", "c"))
    assert Snapshot(station="A", members=members).other_ready_members() == 1
