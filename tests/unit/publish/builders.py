"""Valid defaults for what the barrier sees: override what the test is about."""

from collections.abc import Iterable

from station.model.identity import Revision
from station.model.now import Now
from station.model.publication import Publication
from station.publish.view import Holdings, Member, Registered, SourceState, View

SOURCE = "ol9_baseos_latest"
NOW = Now(wall=1_700_000_000.0, boot=5_000.0)


def revision(letter: str) -> Revision:
    """A revision that is easy to tell from others: one of a–f."""
    return Revision.parse(letter * 64)


def publication(number: int, order: int = 100, letter: str = "a") -> Publication:
    return Publication(number, order, revision(letter))


def later(seconds: float, now: Now = NOW) -> Now:
    return Now(now.wall + seconds, now.boot + seconds)


def holdings(
    *,
    orders: dict[str, int] | None = None,
    complete: Iterable[str] = (),
    staged: Iterable[str] | None = None,
    candidate: str = "",
    progress: float = 0.0,
    live: Publication | None = None,
    greatest: int = 0,
) -> Holdings:
    """Revisions by their letters; staged is what is complete, unless told."""
    complete = list(complete)
    return Holdings(
        orders={revision(letter): order for letter, order in (orders or {}).items()},
        complete=frozenset(map(revision, complete)),
        staged=frozenset(map(revision, complete if staged is None else staged)),
        candidate=revision(candidate) if candidate else None,
        progress=progress,
        live=live,
        greatest=greatest,
    )


def member(
    name: str,
    held: Holdings | None = None,
    *,
    age: float = 0.0,
    by_fill: bool = False,
    may_write: bool = True,
    offset: float | None = 0.0,
) -> Member:
    return Member(name, age, {SOURCE: held or Holdings()}, by_fill, may_write, offset)


def view(state: SourceState, *members: Member, station: str = "a") -> View:
    return View(station, members or (member("a"),), {SOURCE: state})


def registered(of: Publication, *, in_s: float = 0.0, by: str = "b") -> Registered:
    """T so many seconds after NOW on the wall clock of `by`; 0: at once."""
    return Registered(of, NOW.wall + in_s if in_s else 0.0, by)
