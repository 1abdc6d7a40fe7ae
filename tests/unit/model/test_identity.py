import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.model.identity import InvalidName, Revision, SourceId


@pytest.mark.parametrize("text", ["ol9_baseos_latest", "a", "9.x-y_Z", "a" * 128])
def test_a_plain_name_is_a_source_id(text: str) -> None:
    assert SourceId.parse(text) == text


@pytest.mark.parametrize(
    "text", ["", ".", "..", ".hidden", "-x", "a/b", "a b", "ä", "a\n", "a" * 129]
)
def test_what_is_unsafe_in_a_path_is_no_source_id(text: str) -> None:
    with pytest.raises(InvalidName, match="source id"):
        SourceId.parse(text)


@given(st.text())
def test_a_source_id_that_exists_is_one_path_segment(text: str) -> None:
    try:
        name = SourceId.parse(text)
    except InvalidName:
        return
    assert "/" not in name and "\0" not in name and not name.startswith(".")


def test_a_revision_is_a_sha256() -> None:
    assert Revision.parse("0" * 64)
    with pytest.raises(InvalidName):
        Revision.parse("0" * 63 + "G")
