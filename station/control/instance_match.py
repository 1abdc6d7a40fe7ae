"""Whether a machine is of the kind that a profile is for: architecture, and the major version of its system. Pure."""

import re
from collections.abc import Mapping

from station.model.records import Arch, ProfileRecord

_MAJOR = re.compile(r"_([0-9]+)$")


def mismatch(profile: ProfileRecord, facts: Mapping[str, str]) -> str:
    """Why the machine with these facts does not fit; empty when it does, or does not say."""
    arch = facts.get("arch", "")
    if arch and profile.arch is not Arch.NOARCH and arch != profile.arch.value:
        return f"the profile {profile.name} is for {profile.arch.value}, this machine is {arch}"
    wanted, version = _MAJOR.search(profile.os_family), facts.get("os_version", "")
    is_rpm = facts.get("os_id", "") not in ("debian", "ubuntu", "alpine")
    if wanted and version and is_rpm and version.partition(".")[0] != wanted[1]:
        return f"the profile {profile.name} is for {profile.os_family}, this machine has version {version}"
    return ""
