"""The status of an instance."""

import pytest

from station.model.instance_status import (
    UNREACHABLE_AFTER_S,
    WARNING_AFTER_S,
    InstanceStatus,
    status_of,
)
from station.model.records import InstanceRecord

NOW = 1_800_000_000.0
LONG_AGO = NOW - 1e6
RECORD = InstanceRecord(id="db1", station="A", secret_digest="d", registered_at=LONG_AGO)


@pytest.mark.parametrize(
    ("silent_s", "status"),
    [
        (0.0, InstanceStatus.NORMAL),
        (WARNING_AFTER_S - 1, InstanceStatus.NORMAL),
        (WARNING_AFTER_S, InstanceStatus.WARNING),
        (UNREACHABLE_AFTER_S - 1, InstanceStatus.WARNING),
        (UNREACHABLE_AFTER_S, InstanceStatus.UNREACHABLE),
    ],
)
def test_silence_is_told_by_how_long_it_lasts(silent_s: float, status: InstanceStatus) -> None:
    assert status_of(RECORD, NOW - silent_s, NOW, LONG_AGO) is status


def test_silence_counts_only_since_somebody_listens() -> None:
    assert status_of(RECORD, None, NOW, NOW - 60) is InstanceStatus.NORMAL
    assert status_of(RECORD, None, NOW, NOW - 4000) is InstanceStatus.UNREACHABLE


def test_instance_is_registering_until_its_first_check_in() -> None:
    fresh = RECORD.model_copy(update={"registered_at": NOW - 60})
    assert status_of(fresh, None, NOW, LONG_AGO) is InstanceStatus.ONBOARDING
    by_hand = InstanceRecord(id="db1", station="A")
    assert status_of(by_hand, None, NOW, LONG_AGO) is InstanceStatus.ONBOARDING


def test_what_went_wrong_on_it_is_an_error() -> None:
    record = RECORD.model_copy(update={"facts": {"error": "no .repo file"}})
    assert status_of(record, NOW, NOW, LONG_AGO) is InstanceStatus.ERROR


def test_registration_that_failed_stays_one_however_long_it_is_silent() -> None:
    never = InstanceRecord(id="db1", station="A", facts={"registration": "no disk"})
    again = RECORD.model_copy(update={"facts": {"registration": "no disk"}})
    for record, seen in ((never, None), (again, NOW), (again, NOW - 1e5), (again, None)):
        assert status_of(record, seen, NOW, LONG_AGO) is InstanceStatus.REGISTRATION_ERROR


@pytest.mark.parametrize(
    ("silent_s", "status"),
    [
        (0.0, InstanceStatus.REBOOTING),
        (WARNING_AFTER_S - 1, InstanceStatus.REBOOTING),
        (WARNING_AFTER_S, InstanceStatus.WARNING),
        (UNREACHABLE_AFTER_S, InstanceStatus.UNREACHABLE),
    ],
)
def test_machine_that_goes_down_to_boot_has_as_long_as_any_to_be_heard_again(
    silent_s: float, status: InstanceStatus
) -> None:
    record = RECORD.model_copy(update={"facts": {"going": "reboot", "error": "no .repo file"}})
    assert status_of(record, NOW - silent_s, NOW, LONG_AGO) is status


@pytest.mark.parametrize("facts", [{}, {"error": "x"}, {"registration": "x"}, {"going": "reboot"}])
@pytest.mark.parametrize("seen", [None, NOW, NOW - 1e5])
def test_what_a_person_deleted_is_deleting_whatever_else_it_is(
    facts: dict[str, str], seen: float | None
) -> None:
    record = RECORD.model_copy(update={"facts": facts})
    assert status_of(record, seen, NOW, LONG_AGO, is_deleting=True) is InstanceStatus.DELETING
