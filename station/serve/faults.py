"""Fault injection: what keeps dnf from failing, switched off one by one, so that tests can show that it matters.

`STATION_FAULTS` holds words separated by commas: hold-off, union-off, pins-off, freshness-off. Never set it in
production; a worker that finds it says so in its log.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

VARIABLE = "STATION_FAULTS"
_WORDS = ("hold-off", "union-off", "pins-off", "freshness-off")


@dataclass(frozen=True, slots=True)
class Faults:
    """`no_hold`: repomd.xml flips at T like the rest. `no_union`: only the asked revision is looked at. `no_pins`:
    mirrorlists name the live view. `no_freshness`: mutable names are answered however silent control is.
    """

    no_hold: bool = False
    no_union: bool = False
    no_pins: bool = False
    no_freshness: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """What the variable says. Raises ValueError for a word that is no fault."""
        words = [word for word in environment.get(VARIABLE, "").split(",") if word]
        unknown = [word for word in words if word not in _WORDS]
        if unknown:
            raise ValueError(f"{VARIABLE}: {unknown[0]!r} is not one of {', '.join(_WORDS)}")
        return cls(*(word in words for word in _WORDS))


NONE = Faults()
