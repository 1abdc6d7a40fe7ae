"""What the lab shows: instructions once, then a live table of stations × sources."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from station.lab.layout import HTTP_PORT, HTTPS_PORT, PROXY_PORT, Lab

COLOURS = {"SYNCED": "green", "SYNCING": "yellow", "QUEUED": "yellow", "FAILED": "red"}


def instructions(lab: Lab, source: str, profile: str, pids: Mapping[str, int]) -> str:
    """Addresses, a .repo to copy, the dnf command to try, and how to kill a station."""
    url = f"http://{lab.balancer}:{HTTP_PORT}"
    victim = lab.stations[-1]
    check = "0" if source != "demo" else "1"
    return f"""
balancer   proxy {lab.balancer}:{PROXY_PORT}  http {lab.balancer}:{HTTP_PORT}  https {lab.balancer}:{HTTPS_PORT}
stations   {", ".join(f"{s.name} {s.host} (pid {pids[s.name]})" for s in lab.stations)}
CA         {lab.ca}
lab.json   {lab.description}

# a .repo file for an instance
[{source}]
name={source}
mirrorlist={url}/mirrorlist/{source}/{profile}
gpgcheck={check}
gpgkey={url}/keys/{source}

# try it, as root, on a machine with dnf
dnf --installroot={lab.root}/client --setopt=reposdir=/nowhere --releasever=9 \\
    --repofrompath={source},{url}/repo/{source}/ --nogpgcheck repoquery

# kill a station, and see that nobody notices
kill -9 {pids[victim.name]}

Ctrl-C ends the lab.
"""


def stations_table(rows: Mapping[str, tuple[Any, Any]], dead: list[str]) -> Table:
    """One row per station: its state, and state and revision of each source."""
    sources = sorted({row["source"] for _, mirrors in rows.values() for row in mirrors or []})
    table = Table("station", "state", "peers", *sources)
    for name, (status, mirrors) in rows.items():
        if status is None:
            table.add_row(name, "[red]dead[/red]" if name in dead else "[red]silent[/red]")
            continue
        by_source = {row["source"]: row for row in mirrors or []}
        cells = [_cell(by_source.get(source)) for source in sources]
        word = status["overall_state"]
        colour = "green" if word == "NORMAL" else "yellow"
        table.add_row(
            name,
            f"[{colour}]{word}[/{colour}]",
            f"{status['peers_present']}/{status['peers']}",
            *cells,
        )
    return table


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "-"
    colour = COLOURS.get(row["state"], "white")
    return f"[{colour}]{row['state']}[/{colour}] {row['percentage']}% {row['revision'][:10]}"
