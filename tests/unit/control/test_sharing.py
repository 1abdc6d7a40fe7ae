from station.control.sharing import WORDS_REMEMBERED, Sharing
from station.model.report import StationReport


def peer(
    seen: str, *, sees: tuple[str, ...] = ("A",), storage_id: str = "s"
) -> tuple[bool, StationReport]:
    return True, StationReport(storage_id=storage_id, seen=seen, sees=sees)


def looking(seen: str, found: list[str]) -> Sharing:
    """Station A, which heard `seen` from B and found `found` of B on its storage."""
    sharing = Sharing()
    sharing.heard({"B": peer(seen)[1]})
    sharing.looked("a1", {"B": found})
    return sharing


def test_stations_that_find_each_others_newest_words_share_a_storage() -> None:
    sharing = looking("b2", ["b1", "b2"])
    assert sharing.partners("A", "s", {"B": peer("b2")}) == {"B"}
    assert sharing.is_settled("A", "s", {"B": peer("b2")})
    assert sharing.found == ("B",)


def test_a_copied_disk_has_the_same_id_and_only_old_words() -> None:
    sharing = looking("b9", ["b1", "b2"])
    assert not sharing.partners("A", "s", {"B": peer("b9")})
    assert not sharing.is_settled("A", "s", {"B": peer("b9")})


def test_a_disk_that_is_copied_one_way_only_is_not_shared() -> None:
    assert not looking("b1", ["b1"]).partners("A", "s", {"B": peer("b1", sees=())})


def test_another_storage_id_or_an_absent_station_shares_nothing() -> None:
    sharing = looking("b1", ["b1"])
    assert not sharing.partners("A", "s", {"B": peer("b1", storage_id="other")})
    assert not sharing.partners("A", "s", {"B": (False, peer("b1")[1])})
    assert not sharing.partners("A", "", {"B": peer("b1", storage_id="")})


def test_a_listing_that_is_a_minute_old_still_shows_a_word_we_heard() -> None:
    sharing = Sharing()
    for number in range(WORDS_REMEMBERED):
        sharing.heard({"B": peer(f"b{number}")[1]})
    sharing.looked("a1", {"B": ["b0"]})
    assert "B" in sharing.sees
    sharing.heard({"B": peer("new")[1]})
    sharing.looked("a2", {"B": ["b0"]})
    assert "B" not in sharing.sees


def test_a_storage_that_is_gone_is_shared_with_nobody() -> None:
    sharing = looking("b1", ["b1"])
    sharing.lost()
    assert (sharing.word, sharing.sees, sharing.found) == ("", (), ())
    assert not sharing.partners("A", "s", {"B": peer("b1")})
