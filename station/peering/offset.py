"""How far a peer's wall clock is from ours, from the times that each gossip exchange carries anyway.

As NTP does it (RFC 5905 section 8): with t1 sent and t4 received by our clock, t2 received and t3 sent by the
peer's, the difference is ((t2 − t1) + (t3 − t4)) / 2 and wrong by at most half of the time on the way. Of the last
samples the one that was shortest on the way counts. Samples are kept against the boot clock, so that a step of our
own wall clock does not spoil them.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Self

HEADER = "X-Station-Wall"
SAMPLES = 8
# Two quartz clocks part by less than 100 parts per million; an old sample is that much less certain.
DRIFT = 1e-4
HEADER_LENGTH_MAX = 64


@dataclass(frozen=True, slots=True)
class Sample:
    """One exchange: the peer's wall clock minus our boot clock, how wrong at most, and when (boot, seconds)."""

    peer_minus_boot: float
    error: float
    at: float

    @classmethod
    def of(cls, header: str, sent_boot: float, received_boot: float) -> Self | None:
        """From the peer's header and our own boot times; None when the header is none of ours."""
        if len(header) > HEADER_LENGTH_MAX:
            return None
        try:
            received, answered = (float(text) for text in header.split())
        except ValueError:
            return None
        on_the_way = (received_boot - sent_boot) - (answered - received)
        if not (math.isfinite(received) and math.isfinite(answered)) or answered < received:
            return None
        peer, ours = (received + answered) / 2, (sent_boot + received_boot) / 2
        return cls(peer - ours, max(on_the_way, 0.0) / 2, received_boot)

    def error_at(self, now: float) -> float:
        """How wrong it may be at `now` (boot, seconds)."""
        return self.error + DRIFT * max(now - self.at, 0.0)


class OffsetFilter:
    """The samples of one peer."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=SAMPLES)

    def add(self, sample: Sample) -> None:
        """A new sample. One that contradicts the best beyond both their errors means a step: the older ones go."""
        best = self._best(sample.at)
        if best is not None:
            apart = abs(best.peer_minus_boot - sample.peer_minus_boot)
            if apart > best.error_at(sample.at) + sample.error:
                self._samples.clear()
        self._samples.append(sample)

    def offset(self, boot: float, wall: float) -> tuple[float, float] | None:
        """(the peer's wall clock minus ours, how wrong at most), seconds; None before the first sample."""
        best = self._best(boot)
        if best is None:
            return None
        return best.peer_minus_boot + boot - wall, best.error_at(boot)

    def _best(self, now: float) -> Sample | None:
        return min(self._samples, key=lambda sample: sample.error_at(now), default=None)


def header_value(received: float, answered: float) -> str:
    """The answering side's header: wall clock when the request came and when the answer goes, seconds."""
    return f"{received:.6f} {answered:.6f}"
