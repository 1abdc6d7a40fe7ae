"""Flips: what each name shows before, during and after."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.http import view
from station.http.view import Flip, Name, Shown, carry, edges, name_of, show

T = 100.0
FLIP = Flip("old", "new", T)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"repodata/repomd.xml", Name.REPOMD),
        (b"repodata/repomd.xml.asc", Name.SIGNATURE),
        (b"repodata/repomd.xml.key", Name.SIGNATURE),
        (b"repodata/repomd.xml.bak", Name.PLAIN),
        (b"repodata/comps.xml", Name.PLAIN),
        (b"repodata/" + b"a" * 64 + b"-primary.xml.gz", Name.FIXED),
        (b"Packages/a.rpm", Name.FIXED),
        (b"x/repodata/repomd.xml", Name.FIXED),
    ],
)
def test_names_are_told_apart(path: bytes, expected: Name) -> None:
    assert name_of(path) is expected


@pytest.mark.parametrize(
    ("name", "is_zypp", "now", "expected"),
    [
        (Name.REPOMD, False, T - 3.01, Shown("old")),
        (Name.REPOMD, False, T - 3.0, Shown("", T + 0.25)),
        (Name.REPOMD, False, T + 0.24, Shown("", T + 0.25)),
        (Name.REPOMD, False, T + 0.25, Shown("new")),
        (Name.SIGNATURE, False, T - 0.01, Shown("old")),
        (Name.SIGNATURE, False, T, Shown("new")),
        (Name.PLAIN, False, T - 0.01, Shown("old")),
        (Name.PLAIN, False, T, Shown("new")),
        (Name.SIGNATURE, True, T - 3.0, Shown("", T + 0.25)),
        (Name.SIGNATURE, True, T + 0.25, Shown("new")),
        (Name.REPOMD, True, T - 0.01, Shown("old")),
        (Name.REPOMD, True, T, Shown("new")),
    ],
)
def test_the_name_asked_first_is_held_and_the_others_flip_at_t(
    name: Name, is_zypp: bool, now: float, expected: Shown
) -> None:
    assert show(FLIP, name, now, is_zypp=is_zypp) == expected


@pytest.mark.parametrize(("hold_before_s", "is_consistent"), [(3.0, True), (1.0, False)])
def test_a_client_whose_second_request_was_cut_off_for_two_seconds_needs_a_hold_of_three(
    hold_before_s: float, is_consistent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "HOLD_BEFORE_S", hold_before_s)
    repomd = show(FLIP, Name.REPOMD, T - 1.5)
    if repomd.held_until:
        repomd = show(FLIP, Name.REPOMD, repomd.held_until)
    signature = show(FLIP, Name.SIGNATURE, T + 0.5)
    assert (repomd == signature) is is_consistent


def test_a_first_publication_appears_at_once() -> None:
    first = Flip("", "new", T)
    assert show(first, Name.REPOMD, T) == Shown("new")
    assert show(first, Name.REPOMD, T - 0.5) == Shown("", T)


def test_without_a_flip_the_live_revision_is_shown() -> None:
    assert show(Flip("live"), Name.REPOMD, T) == Shown("live")
    assert show(Flip(), Name.REPOMD, T) == Shown("")


def test_the_hold_outlives_the_word_that_the_flip_happened() -> None:
    assert carry(FLIP, Flip("new"), T + 0.1) == FLIP
    assert carry(FLIP, Flip("new"), T + 0.25) == Flip("new")
    assert carry(FLIP, Flip("other"), T + 0.1) == Flip("other")


@given(st.floats(T - 3, T + 3), st.floats(0, 1), st.floats(-0.125, 0.125), st.booleans())
def test_two_stations_never_mix_revisions_within_one_conversation(
    first_at: float, gap: float, skew: float, is_zypp: bool
) -> None:
    """Asked in the client's order, on two stations whose clocks differ by up to 250 ms."""
    order = (Name.SIGNATURE, Name.REPOMD) if is_zypp else (Name.REPOMD, Name.SIGNATURE)
    first = show(FLIP, order[0], first_at + skew, is_zypp=is_zypp)
    answered_at = first_at if first.revision else first.held_until - skew
    if not first.revision:
        first = show(FLIP, order[0], first.held_until, is_zypp=is_zypp)
    if gap < 1 - 2 * abs(skew):
        second = show(FLIP, order[1], answered_at + gap - skew, is_zypp=is_zypp)
        assert second.revision == first.revision


@given(st.sampled_from(Name), st.booleans(), st.floats(T - 5, T + 5))
def test_answers_change_only_at_edges(name: Name, is_zypp: bool, now: float) -> None:
    next_edge = min((edge for edge in edges(FLIP) if edge > now), default=now + 1)
    later = now + (next_edge - now) * 0.5
    assert show(FLIP, name, now, is_zypp=is_zypp) == show(FLIP, name, later, is_zypp=is_zypp)
