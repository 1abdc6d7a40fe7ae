"""Which stations share our storage: those whose words we find on it, and who find ours. Pure.

Each station writes a new random word into its storage every few seconds and tells it by gossip. A copied disk has the
same storage id and old words; a disk that is copied one way only is seen from one side only.
"""

from collections import deque
from collections.abc import Mapping

from station.model.report import StationReport

# Words that a peer said last, one each 10 s: a directory listing over NFS may be a minute old.
WORDS_REMEMBERED = 7


class Sharing:
    """What the stations say their words are, and which of them we found."""

    def __init__(self) -> None:
        self.word = ""  # ours, written last
        self.sees: tuple[str, ...] = ()
        self.found: tuple[
            str, ...
        ] = ()  # stations that ever wrote a word here, ours not among them
        self._said: dict[str, deque[str]] = {}

    def heard(self, reports: Mapping[str, StationReport]) -> None:
        """Note what the others say; before each look at the storage, and with every turn."""
        for name, report in reports.items():
            words = self._said.setdefault(name, deque(maxlen=WORDS_REMEMBERED))
            if report.seen and report.seen not in words:
                words.append(report.seen)

    def looked(self, mine: str, others: Mapping[str, list[str]]) -> bool:
        """What lies on our storage: our newest word, and those of the others. True: this changes what we report."""
        before = self.word, self.sees
        self.found = tuple(sorted(others))
        known = [
            name for name, words in others.items() if set(words) & set(self._said.get(name, ()))
        ]
        self.word, self.sees = mine, tuple(sorted(known))
        return before != (self.word, self.sees)

    def lost(self) -> None:
        """Our storage is not there: nobody shares it with us."""
        self.word, self.sees, self.found = "", (), ()

    def partners(
        self, own: str, storage_id: str, peers: Mapping[str, tuple[bool, StationReport]]
    ) -> frozenset[str]:
        """The present stations that share our storage, ours not among them. `peers`: name → (is present, report)."""
        if not storage_id:
            return frozenset()
        return frozenset(
            name
            for name, (is_present, report) in peers.items()
            if is_present
            and report.storage_id == storage_id
            and name in self.sees
            and own in report.sees
        )

    def is_settled(
        self, own: str, storage_id: str, peers: Mapping[str, tuple[bool, StationReport]]
    ) -> bool:
        """False while a present station with our storage id is not (yet) recognised."""
        alike = {n for n, (here, said) in peers.items() if here and said.storage_id == storage_id}
        return alike <= self.partners(own, storage_id, peers)
