from typing import Any

import pytest

from station.config.parse import parse_config
from station.control.jobs import JobMaker
from station.control.storage_view import StorageView
from station.control.sync_plan import AskUpstream, CopyFromPeers, FetchManifest
from station.model.states import StorageState
from tests.unit.control.builders import R1, R2, records, view

TOML = """
name = "A"
compartment = "c"
hostname = "lb"
state_directory = "/state"
[proxy]
hosts = ["10.0.0.0/8"]
[mirror]
directory = "/mnt/mirror"
"""


def maker(storage: StorageView | None = None, *, is_alone: bool = False) -> JobMaker:
    """Station A; B is present unless it is alone, and so is one that nobody has a record of."""
    return JobMaker(
        parse_config(TOML, lambda _: ""),
        storage=lambda: storage or view(),
        records=records,
        present=lambda: ["A"] if is_alone else ["A", "B", "stranger"],
    )


def sync_job(work: AskUpstream | CopyFromPeers | FetchManifest) -> dict[str, Any]:
    return maker().sync_job(work, records().sources["base"])


def test_a_look_at_upstream_names_what_is_live_so_that_nothing_older_is_taken() -> None:
    job = sync_job(AskUpstream("base", "requested"))
    assert (job["kind"], job["live"], job["order"]) == ("sync", R1, 10)
    assert job["source"]["url"] == "https://upstream.example/base/"
    assert (job["storage"], job["state"], job["station"]) == ("/mnt/mirror", "/state", "A")


def test_the_first_look_has_nothing_to_compare_with() -> None:
    job = maker(StorageView(StorageState.READY)).sync_job(
        AskUpstream("base", "new"), records().sources["base"]
    )
    assert (job["live"], job["order"]) == (None, 0)


def test_copies_and_manifests_are_of_one_revision() -> None:
    for work, kind in (
        (CopyFromPeers("base", R2), "copy"),
        (FetchManifest("base", R2), "manifest"),
    ):
        job = sync_job(work)
        assert (job["kind"], job["revision"]) == (kind, R2)


def test_peers_are_the_present_members_by_their_records() -> None:
    job = sync_job(CopyFromPeers("base", R2))
    assert job["peers"] == [{"name": "B", "url": "https://B.example.com:17946"}]
    assert job["peer_tls"] == {
        "cert": "/state/pki/peer.pem",
        "key": "/state/pki/peer.key",
        "ca": "/state/pki/peers-ca.pem",
    }


def test_a_fill_is_one_path_of_one_revision() -> None:
    job = maker().fill_job(("base", R1, "a.rpm"))
    assert job is not None
    assert (job["kind"], job["revision"], job["path"]) == ("fill", R1, "a.rpm")


def test_nothing_is_filled_of_an_unknown_source() -> None:
    assert maker().fill_job(("nope", R1, "a.rpm")) is None


def test_a_storage_in_doubt_is_gone_round_where_that_is_possible() -> None:
    jobs = [maker().fill_job(("base", one, "a.rpm"), is_storage_in_doubt=True) for one in (R1, "")]
    assert [job and job["kind"] for job in jobs] == ["relay", "fill"]


def test_where_no_peer_is_the_storage_is_the_only_way() -> None:
    job = maker(is_alone=True).fill_job(("base", R1, "a.rpm"), is_storage_in_doubt=True)
    assert job is not None and job["kind"] == "fill"
    full = maker(view(state=StorageState.FULL), is_alone=True)
    assert full.fill_job(("base", R1, "a.rpm")) is None


@pytest.mark.parametrize("state", [s for s in StorageState if s is not StorageState.READY])
def test_a_storage_that_takes_nothing_is_gone_round(state: StorageState) -> None:
    away = maker(view(state=state))
    job = away.fill_job(("base", R1, "a.rpm"))
    assert job is not None and job["kind"] == "relay"
    assert away.fill_job(("base", "", "a.rpm")) is None, "no revision to look it up in"
    job = away.sync_job(FetchManifest("base", R1), records().sources["base"])
    assert (job["kind"], job["is_away"]) == ("manifest", True)
