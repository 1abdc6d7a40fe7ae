"""The .repo file of an instance and what goes with it, put together once for all instances that get the same. Pure."""

import hashlib
import operator
from collections.abc import Iterable
from dataclasses import dataclass

from station.control.changes import Records
from station.control.holdings import Holdings
from station.control.instance_place import Place, place_of, shown_group
from station.model.mirror_list import may_be_mirrored
from station.model.records import GroupRecord, ProfileRecord, SourceRecord
from station.setup.repo_file import CA_PATH, RepoOptions, render_repo_file

KEY_DIRECTORY = CA_PATH.rpartition("/")[0] + "/keys"
KEPT_MAX = 1024  # different offers; instances with sources of their own have their own
NO_SOURCES = "# no sources yet: neither the profile nor the instance refers to any\n"

_Like = tuple[str, str, str, tuple[str, ...]]  # profile, station, way, own sources


@dataclass(frozen=True, slots=True)
class Offer:
    """`text`: the .repo file. `digest`: its SHA-256. `keys`: ids of the sources that have a GPG key."""

    text: str
    digest: str
    place: Place
    keys: tuple[str, ...]


class Offers:
    """Read through `of`; the mappings of the records never change, new ones are given after each change."""

    def __init__(self, *, sslverify: bool) -> None:
        self._sslverify = sslverify
        self._holdings = Holdings()
        self._made_from: tuple[object, ...] = (None,) * 6
        self._kept: dict[_Like, Offer] = {}

    def of(
        self,
        records: Records,
        group: GroupRecord,
        profile: ProfileRecord,
        instance: str,
        *,
        way: str,
        names: Iterable[str] | None,
        now: float,
    ) -> Offer:
        """For a machine that comes by this `way`. `names`, `now`: as for `shown_group`."""
        shown = shown_group(group, names, now)
        made_from = (
            *(group, records.stations, records.profiles, records.sources, records.references),
            shown.hostname,
        )
        is_same = all(map(operator.is_, made_from, self._made_from))
        if not is_same or len(self._kept) >= KEPT_MAX:
            self._made_from, self._kept = made_from, {}
        record = records.instances.get(instance)
        station = record.station if record else profile.station
        own = tuple(self._holdings.sources_of(records.references, "instance", instance))
        like = profile.name, station, way, own
        if like not in self._kept:
            self._kept[like] = self._make(records, shown, like)
        return self._kept[like]

    def _make(self, records: Records, shown: GroupRecord, like: _Like) -> Offer:
        profile, station, way, own = like
        place = place_of(records, shown, station)
        sources = self._sources(records, profile, own)
        text = NO_SOURCES
        if sources:
            options = RepoOptions(
                profile=profile,
                sslverify=self._sslverify,
                key_directory=KEY_DIRECTORY,
                by_proxy=way == "proxy",
            )
            there = shown.model_copy(update={"hostname": place.host})
            text = render_repo_file(there, sources, options)
        keys = tuple(source.id for source in sources if source.gpgkey)
        return Offer(text, hashlib.sha256(text.encode()).hexdigest(), place, keys)

    def _sources(self, records: Records, profile: str, own: tuple[str, ...]) -> list[SourceRecord]:
        names = {*self._holdings.sources_of(records.references, "profile", profile), *own}
        known = [records.sources[name] for name in sorted(names) if name in records.sources]
        return [source for source in known if may_be_mirrored(source)]
