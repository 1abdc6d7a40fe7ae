"""The instant a decision is taken at: both clocks, read once by the caller and handed in."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Now:
    """`wall`: seconds since 1970, as other machines see it; may step. `boot`: seconds since boot, never goes back."""

    wall: float
    boot: float
