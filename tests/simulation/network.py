"""The network between simulated stations: what a link does to each message, decided by the world's dice."""

from dataclasses import dataclass, field
from random import Random


@dataclass
class Network:
    """`cut` holds (from, to) pairs: a partition may be one-way. Rates are per message, delays in seconds."""

    dice: Random
    loss: float = 0.0
    duplication: float = 0.0
    slow: float = 0.0  # how many messages take up to `slow_s`, and so arrive out of order
    slow_s: float = 3.0
    cut: set[tuple[str, str]] = field(default_factory=set)
    messages: int = 0
    bytes: int = 0

    def arrivals(self, sender: str, receiver: str, size: int) -> list[float]:
        """After how many seconds the message arrives: not at all, once, or several times."""
        self.messages += 1
        self.bytes += size
        if (sender, receiver) in self.cut or self.dice.random() < self.loss:
            return []
        copies = 2 if self.dice.random() < self.duplication else 1
        return [self._delay() for _ in range(copies)]

    def _delay(self) -> float:
        if self.dice.random() < self.slow:
            return self.dice.uniform(0.05, self.slow_s)
        return self.dice.uniform(0.001, 0.03)

    def split(self, *sides: set[str]) -> None:
        """Only stations of one side reach each other."""
        everybody = set().union(*sides)
        self.cut = {(a, b) for side in sides for a in side for b in everybody - side}

    def heal(self) -> None:
        """Everybody reaches everybody, and nothing is lost."""
        self.cut.clear()
        self.loss = self.duplication = self.slow = 0.0
