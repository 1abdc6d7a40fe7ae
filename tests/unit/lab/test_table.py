"""What a person sees of the lab."""

import io
from pathlib import Path
from typing import Any

from rich.console import Console

from station.lab.layout import plan_lab
from station.lab.table import instructions, stations_table

STATUS = {"overall_state": "NORMAL", "peers_present": 2, "peers": 2}
ROW = {"source": "demo", "state": "SYNCED", "percentage": 100, "revision": "ab" * 32}


def shown(rows: dict[str, tuple[Any, Any]], dead: list[str]) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(stations_table(rows, dead))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_row_says_state_peers_and_revision_of_each_source() -> None:
    text = shown({"StationA": (STATUS, [ROW])}, [])
    for word in ("StationA", "NORMAL", "2/2", "SYNCED", "100%", "ababababab"):
        assert word in text


def test_a_killed_station_is_dead_and_one_that_does_not_answer_is_silent() -> None:
    text = shown({"StationA": (None, None), "StationB": (None, None)}, ["StationA"])
    rows = {line.split("│")[1].strip(): line for line in text.splitlines() if "Station" in line}
    assert "dead" in rows["StationA"]
    assert "silent" in rows["StationB"]


def test_a_source_that_one_station_does_not_list_yet_is_a_dash() -> None:
    text = shown({"StationA": (STATUS, [ROW]), "StationB": (STATUS, [])}, [])
    (row,) = (line for line in text.splitlines() if "StationB" in line)
    assert row.split("│")[4].strip() == "-"


def test_instructions_have_a_repo_file_a_dnf_command_and_a_victim() -> None:
    lab = plan_lab(Path("/tmp/lab"), 3, "127.0.0", shared=False)
    pids = {"StationA": 11, "StationB": 12, "StationC": 13}
    text = instructions(lab, "demo", "lab", pids)
    assert "[demo]\n" in text
    assert "mirrorlist=http://127.0.0.10:17080/mirrorlist/demo/lab\n" in text
    assert "--repofrompath=demo,http://127.0.0.10:17080/repo/demo/" in text
    assert "kill -9 13" in text
    assert "gpgcheck=1" in text
    assert "gpgcheck=0" in instructions(lab, "epel", "lab", pids), "whose key we do not have"
