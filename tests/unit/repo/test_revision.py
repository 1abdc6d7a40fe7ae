"""The revision: one per state, whatever the bytes are."""

from hypothesis import given
from hypothesis import strategies as st

from station.model.identity import Revision
from station.repo.revision import revision_of

parts = st.tuples(
    st.binary(max_size=8),
    st.none() | st.binary(max_size=8),
    st.none() | st.binary(max_size=8),
)


@given(parts, parts)
def test_two_states_have_one_revision_only_when_they_are_equal(
    one: tuple[bytes, bytes | None, bytes | None], other: tuple[bytes, bytes | None, bytes | None]
) -> None:
    assert (revision_of(*one) == revision_of(*other)) == (one == other)


def test_a_repository_signed_anew_is_another_revision() -> None:
    assert revision_of(b"<repomd/>", b"one", None) != revision_of(b"<repomd/>", b"two", None)
    assert (
        revision_of(b"a", None, b"") != revision_of(b"a", b"", None) != revision_of(b"a", b"", b"")
    )


def test_the_revision_of_known_bytes_never_changes() -> None:
    found = revision_of(b"<repomd/>", None, None)
    assert found == "33e156f263a92b7be7ad4592b837960a2f7962f19f7c36bfc352b97da20d83c4"
    assert Revision.parse(found) == found
