"""The status of an instance, with the product's names, from when it was seen and what it said."""

from enum import StrEnum

from station.model.records import InstanceRecord

# Check-ins come every two minutes ± 30 s, last-seen times are up to five minutes coarse: four missed in a row.
WARNING_AFTER_S = 10 * 60.0
UNREACHABLE_AFTER_S = 60 * 60.0

# Facts of an instance's record that decide its status; each is gone with the next report that does not say it.
GOING = "going"  # what it went down for
REGISTRATION = "registration"  # why its registration failed
ERROR = "error"  # what went wrong at its last check-in


class InstanceStatus(StrEnum):
    """What the product calls Active, Inactive, Offline, Error, Registering, Registration failed, Unregistering."""

    NORMAL = "NORMAL"
    WARNING = "WARNING"
    UNREACHABLE = "UNREACHABLE"
    ERROR = "ERROR"
    ONBOARDING = "ONBOARDING"
    REGISTRATION_ERROR = "REGISTRATION_ERROR"
    REBOOTING = "REBOOTING"
    DELETING = "DELETING"


def status_of(
    record: InstanceRecord,
    seen: float | None,
    now: float,
    listening_since: float,
    *,
    is_deleting: bool = False,
) -> InstanceStatus:
    """`seen`: wall time of its last check-in, None when nobody knows one.

    Nobody's knowing means silence only since stations listen (`listening_since`): last-seen times are not kept over
    a restart of the whole group. All times wall clock, seconds. `is_deleting`: a person deleted it, and it has not
    confirmed. That, and a registration that failed, it stays however long it is silent.
    """
    if is_deleting:
        return InstanceStatus.DELETING
    if record.facts.get(REGISTRATION):
        return InstanceStatus.REGISTRATION_ERROR
    if seen is None and not record.secret_digest:
        return InstanceStatus.ONBOARDING
    silent_s = now - (seen if seen is not None else max(record.registered_at, listening_since))
    if silent_s >= UNREACHABLE_AFTER_S:
        return InstanceStatus.UNREACHABLE
    if silent_s >= WARNING_AFTER_S:
        return InstanceStatus.WARNING
    if seen is None and record.registered_at >= listening_since:
        return InstanceStatus.ONBOARDING
    if record.facts.get(GOING):
        return InstanceStatus.REBOOTING
    return InstanceStatus.ERROR if record.facts.get(ERROR) else InstanceStatus.NORMAL
