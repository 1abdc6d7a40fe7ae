"""The times of the barrier, each with its reason. One value, so that a simulation can shorten the long ones."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rules:
    """All in seconds, all on the boot clock."""

    # A heartbeat travels each second: four may be lost before a station is taken for absent.
    present_s: float = 5.0
    # From writing a publication to T: the hold of 3 s before T, and the 2 s for which the workers of a station whose
    # control has just frozen, and did not hear of it, go on answering.
    lead_s: float = 5.0
    # Requests are held until T + 250 ms; the next publication is not written before.
    hold_after_s: float = 0.25
    # A laggard that fetches nothing for so long is left behind …
    stall_s: float = 60.0
    # … and so is any that is still not done so long after enough others were.
    patience_s: float = 300.0
    # The smaller side of a partition shows nothing new for so long: the balancer reaches both sides.
    restraint_s: float = 600.0
    # Greater than the largest error of T that the hold around a flip covers.
    clock_offset_max_s: float = 0.25
    # The alarm ends below this: measurements of one offset differ by half a round trip.
    clock_offset_calm_s: float = 0.2
    # Control steps each second. A longer gap was a pause: what we know is old, first hear from the others.
    pause_s: float = 2.5
    quiet_after_pause_s: float = 2.0
    # Wall clocks are slewed by 0.5 ms a second at most; what moves further was set.
    clock_step_s: float = 0.05
    # Peers measure our clock with each exchange, once a second; until then they would misread our T.
    quiet_after_clock_step_s: float = 3.0
    # A registry that is behind the stations is first given time to be repaired by gossip.
    restore_s: float = 2.0
    # After a heal a station may be out of reach for the manifest of the other side; the rest does not wait for it.
    manifest_s: float = 10.0
    # What we wrote is in our registry at once; a write that failed is tried again after this.
    rewrite_s: float = 5.0
    # A publication that is not yet under live/ on our storage is written again this often.
    relink_s: float = 5.0


RULES = Rules()
