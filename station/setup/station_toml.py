"""station.toml from what the group knows: the file of a new host that takes over a station's name. Pure."""

import json
from collections.abc import Sequence

from station.model.records import GroupRecord, StationRecord


def render_station_toml(group: GroupRecord, station: StationRecord) -> str:
    """The file with which the station's processes would write this very record.

    What no record holds (state directory, listening address, admin socket, limits, the outer proxy's password) keeps
    its default.
    """
    return f"""\
# Written from the record of {station.name} in the group's registry.
name = {_text(station.name)}
compartment = {_text(group.compartment)}
hostname = {_text(group.hostname)}
description = {_text(station.description)}
address = {_text(station.address)}
balancers = {_list(station.balancers)}
is_auto_config_enabled = {_flag(station.is_auto_config_enabled)}

[proxy]
enabled = {_flag(station.proxy_enabled)}
hosts = {_list(station.proxy_hosts)}
port = {group.ports.proxy}
more_ports = {_others(station.serves.proxy, group.ports.proxy)}
forward = {_text(station.proxy_forward)}
destinations = {_list(station.proxy_destinations)}

[mirror]
directory = {_text(station.storage_path)}
port = {group.ports.http}
more_ports = {_others(station.serves.http, group.ports.http)}
sslport = {group.ports.https}
more_sslports = {_others(station.serves.https, group.ports.https)}
sslcert = {_text(station.sslcert)}
sslkey = {_text(station.sslkey)}
is_sslverify_enabled = {_flag(station.is_sslverify_enabled)}

[peer]
port = {station.peer_port}
"""


def _text(value: str) -> str:
    # Of JSON's escapes TOML lacks only the surrogate pairs, which are not made here.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


def _others(ports: Sequence[int], main: int) -> str:
    return str([port for port in ports if port != main])


def _list(values: Sequence[str]) -> str:
    return f"[{', '.join(map(_text, values))}]"


def _flag(value: bool) -> str:
    return "true" if value else "false"
