from station.control.storage_view import StorageView, stored_source
from station.model.states import StorageState
from tests.unit.control.builders import FIRST, R1, R2, SECOND, held

FACTS = {"complete": True, "packages": 5, "size": 500, "order": 10}


def test_greatest_publication_of_a_listing_is_what_is_live_there() -> None:
    names = [SECOND.file_name(), FIRST.file_name()]
    found = stored_source({"live": names, "revisions": {R1: FACTS}})
    assert found.live == (FIRST, SECOND)
    assert found.greatest == SECOND
    assert found.revisions == {R1: held(10)}


def test_a_stray_file_among_publications_counts_for_nothing() -> None:
    names = ["README", f"1-2-{R2}", FIRST.file_name()]
    assert stored_source({"live": names, "revisions": {}}).live == (FIRST,)


def test_before_the_first_answer_nothing_is_assumed_of_the_storage() -> None:
    assert StorageView().state is StorageState.STALLED
    assert StorageView().sources == {}
