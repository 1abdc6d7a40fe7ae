import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.model.identity import InvalidName, Revision
from station.model.publication import Publication

publications = st.builds(
    Publication,
    st.integers(1, 10**12),
    st.integers(0, 10**12),
    st.integers(0, 2**256 - 1).map(lambda n: Revision(f"{n:064x}")),
)


@given(publications, publications)
def test_the_order_of_file_names_is_the_order_of_publications(
    one: Publication, other: Publication
) -> None:
    assert (one < other) == (one.file_name() < other.file_name())


@given(publications)
def test_a_file_name_parses_to_what_it_names(publication: Publication) -> None:
    assert Publication.parse(publication.file_name()) == publication


@pytest.mark.parametrize("name", ["", "1-2-x", "..", "0" * 20 + "-" + "0" * 20 + "-" + "z" * 64])
def test_another_file_is_no_publication(name: str) -> None:
    with pytest.raises(InvalidName):
        Publication.parse(name)


def test_number_zero_means_nothing_was_published() -> None:
    with pytest.raises(ValueError, match="out of range"):
        Publication(0, 0, Revision("0" * 64))
