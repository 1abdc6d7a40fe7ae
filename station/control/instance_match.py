"""Whether a machine is of the kind that a profile is for: vendor, major version of its system, architecture. Pure."""

import re
from collections.abc import Mapping

from station.model.records import Arch, ProfileRecord

_MAJOR = re.compile(r"_([0-9]+)$")
# How a profile's family names a vendor, and how its machines do (os-release(5), ID). Other families are any vendor's.
_VENDORS = {
    "ORACLE_LINUX": "ol",
    "RED_HAT_ENTERPRISE_LINUX": "rhel",
    "ALMA_LINUX": "almalinux",
    "ROCKY_LINUX": "rocky",
    "CENTOS_STREAM": "centos",
}


def mismatch(profile: ProfileRecord, facts: Mapping[str, str]) -> str:
    """Why the machine with these facts does not fit; empty when it does, or does not say."""
    arch = facts.get("arch", "")
    if arch and profile.arch is not Arch.NOARCH and arch != profile.arch.value:
        return f"the profile {profile.name} is for {profile.arch.value}, this machine is {arch}"
    vendor, system = _VENDORS.get(_MAJOR.sub("", profile.os_family)), facts.get("os_id", "")
    if vendor and system in _VENDORS.values() and system != vendor:
        return f"the profile {profile.name} is for {profile.os_family}, this machine says it is {system}"
    wanted, version = _MAJOR.search(profile.os_family), facts.get("os_version", "")
    is_rpm = system not in ("debian", "ubuntu", "alpine")
    if wanted and version and is_rpm and version.partition(".")[0] != wanted[1]:
        return f"the profile {profile.name} is for {profile.os_family}, this machine has version {version}"
    return ""
