"""Which machines a profile is for."""

import pytest

from station.control.instance_match import mismatch
from station.model.records import ProfileRecord


@pytest.mark.parametrize(
    ("family", "system", "version", "fits"),
    [
        ("ORACLE_LINUX_9", "ol", "9.4", True),
        ("ORACLE_LINUX_9", "rocky", "9.4", False),
        ("ROCKY_LINUX_9", "rocky", "9.4", True),
        ("ROCKY_LINUX_9", "rocky", "8.10", False),
        ("ENTERPRISE_LINUX_9", "almalinux", "9.4", True),
        ("ENTERPRISE_LINUX_9", "almalinux", "10.0", False),
        ("ORACLE_LINUX_9", "", "", True),  # it does not say
        ("ORACLE_LINUX_9", "fedora", "9", True),  # a vendor that no family names
    ],
)
def test_vendor_and_major_version_must_be_those_of_the_family(
    family: str, system: str, version: str, fits: bool
) -> None:
    profile = ProfileRecord(name="web", station="A", os_family=family)
    facts = {"os_id": system, "os_version": version, "arch": "x86_64"}
    assert (mismatch(profile, facts) == "") == fits
    assert "aarch64" in mismatch(profile, facts | {"arch": "aarch64"})
