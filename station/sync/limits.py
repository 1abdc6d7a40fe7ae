"""How long, how fast, how much: the bounds of one job, each with its reason. A job may carry others."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one job; seconds and bytes."""

    connections: int = 16  # 8 give 280 packages/s at 20 ms RTT, 32 give 620; loopback is full at 8
    connect_s: float = 20.0  # three SYN retransmissions and a TLS handshake
    answer_s: float = 60.0  # to the end of the head; content networks fetch cold files first
    rate_window_s: float = 30.0  # dnf gives up after as long
    rate_bytes_per_s: int = 1024  # slower than a modem is a fault
    total_s: float = 300.0  # per object, plus its size at total_bytes_per_s
    total_bytes_per_s: int = 16 * 1024
    small_total_s: float = 60.0  # repomd.xml, .asc, .key, a manifest
    attempts: int = 3  # per object at upstream; a file that fails three times is upstream's fault
    retry_s: float = 1.0  # before the second attempt, doubled before the third
    passes: int = 3  # over a repository that changes while it is read
    job_s: float = 24 * 3600.0  # a job that is not over after a day will not be
    # Python gives no memory back: a child that parsed a large primary.xml ends, a small one waits for its next order.
    kept_bytes: int = 160 * 1024 * 1024

    def object_s(self, size: int) -> float:
        """The total time that an object of `size` bytes may take."""
        return self.total_s + size / self.total_bytes_per_s
