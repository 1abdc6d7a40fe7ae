"""The states, with the product's names."""

from enum import StrEnum


class MirrorState(StrEnum):
    """State of one source on one storage: derived from what lies there and what runs now."""

    UNSYNCED = "UNSYNCED"
    QUEUED = "QUEUED"
    SYNCING = "SYNCING"
    SYNCED = "SYNCED"
    FAILED = "FAILED"


class HealthState(StrEnum):
    """Health of a station as its peers see it."""

    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"
    UNAVAILABLE = "UNAVAILABLE"


class OverallState(StrEnum):
    """The one-word summary of a station."""

    NORMAL = "NORMAL"
    REGISTRATION_ERROR = "REGISTRATION_ERROR"
    SYNCING = "SYNCING"
    SYNC_FAILED = "SYNC_FAILED"
    WARNING = "WARNING"
    ERROR = "ERROR"
    UNAVAILABLE = "UNAVAILABLE"


class StorageState(StrEnum):
    """What the storage path is able to do now. Only READY may be written to."""

    READY = "ready"
    MISSING = "missing"  # no marker: not mounted, or never initialised
    FOREIGN = "foreign"  # the marker names another group or another storage than before
    READ_ONLY = "read-only"
    FULL = "full"  # below the hard floor
    STALLED = "stalled"  # the storage child did not answer in time
    DENIED = "denied"  # another owner, or a property is missing (hard links, directory fsync)
