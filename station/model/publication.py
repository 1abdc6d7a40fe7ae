"""Publication: what the group shows of a source from an instant on. The greatest one wins, everywhere, for ever."""

from dataclasses import dataclass
from typing import Self

from station.model.identity import InvalidName, Revision

# Both numbers are written with 20 digits, so that the order of names on the storage is the order of publications.
NUMBER_MAX = 10**19


@dataclass(frozen=True, slots=True, order=True)
class Publication:
    """(number, order, revision), compared in this order.

    `number` grows by one with each publication of the source, group-wide. `order` is the greatest timestamp in
    repomd.xml (seconds), so that of two concurrent publications the newer content wins.
    """

    number: int
    order: int
    revision: Revision

    def __post_init__(self) -> None:
        if not (0 < self.number < NUMBER_MAX and 0 <= self.order < NUMBER_MAX):
            raise ValueError(f"publication out of range: number {self.number}, order {self.order}")

    def file_name(self) -> str:
        """The name under `live/`; the greatest name is the greatest publication."""
        return f"{self.number:020d}-{self.order:020d}-{self.revision}"

    @classmethod
    def parse(cls, name: str) -> Self:
        """The inverse of file_name. Raises InvalidName."""
        number, _, rest = name.partition("-")
        order, _, revision = rest.partition("-")
        if not (len(number) == len(order) == 20 and (number + order).isdecimal()):
            raise InvalidName(f"{name[:160]!r} is not a publication: NUMBER-ORDER-REVISION")
        return cls(int(number), int(order), Revision.parse(revision))
