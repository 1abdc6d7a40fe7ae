"""A sync and a publication killed at each step, in a real directory: what is visible afterwards is whole."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.storage.shelf import SOURCE, Staged, a_layout, check_whole

# One run stages two revisions, publishes both, and collects with no waiting. Run again it must end well.
RUN = """
import sys
from pathlib import Path
from station.storage.collect import Collector, CollectPolicy
from station.storage.intents import reclaim_intents, withdraw_intent
from station.storage.layout import Layout
from station.storage.marker import init_storage
from tests.unit.storage.shelf import GROUP, STATION, Staged, put
directory = Path(sys.argv[1])
layout = Layout(directory / "storage")
init_storage(layout, GROUP)
reclaim_intents(layout, STATION)
put(layout, b"orphan")
for number in (1, 2):
    staged = Staged({"a.rpm": b"a", "b.rpm": b"b%d" % number}, number)
    intent = staged.declare(layout)
    staged.stage(layout)
    withdraw_intent(intent)
    staged.publish(layout, number)
collector = Collector(layout, STATION, directory / "state", "s", lambda: 1.0)
for _ in collector.collect(CollectPolicy(retain_s=0.0, wait_s=0.0)):
    pass
"""
FAILPOINTS = {
    "durable.mkdir": (1, 6),
    "durable.before_write": (1, 3, 6),
    "durable.after_write": (2, 5),
    "durable.fsync": (2, 9),
    "durable.before_link": (1, 5, 9),
    "durable.after_link": (1, 5, 9),
    "durable.fsync_directory": (4, 12, 20),
    "durable.before_unlink": (5, 9),
    "durable.done": (9,),
    "revisions.before_settle": (1, 2),
    "revisions.before_complete": (1, 2),
    "collect.before_take_revision": (1,),
    "collect.taken_revision": (1,),
    "collect.before_take": (1, 2),
    "collect.taken": (1,),
    "durable.after_move": (1, 2),
    "trash.before_unlink": (1, 2),
}
CASES = [(name, count) for name, counts in FAILPOINTS.items() for count in counts]


def run(directory: Path, failpoint: str = "") -> int:
    return subprocess.run(
        [sys.executable, "-c", RUN, str(directory)],
        env=os.environ | {"STATION_FAILPOINT": failpoint},
        cwd=Path(__file__).parents[2],
        timeout=60,
        check=False,
    ).returncode


@pytest.mark.parametrize(("failpoint", "count"), CASES)
def test_killed_at_a_failpoint_everything_visible_is_whole_and_the_next_run_ends_well(
    tmp_path: Path, failpoint: str, count: int
) -> None:
    layout = a_layout(tmp_path)
    assert run(tmp_path, f"{failpoint}:kill@{count}") == -9
    check_whole(layout)
    assert run(tmp_path) == 0
    live = check_whole(layout)
    newest = Staged({"a.rpm": b"a", "b.rpm": b"b2"}, 2)
    assert max(live).revision == newest.revision
    assert layout.complete(SOURCE, newest.revision).exists()
    assert not list(layout.staging("A").rglob("revision-*"))


@pytest.mark.parametrize("failpoint", ["durable.fsync", "durable.fsync_directory", "durable.write"])
@pytest.mark.parametrize("count", [3, 8])
def test_a_disk_that_fails_once_leaves_nothing_half(
    tmp_path: Path, failpoint: str, count: int
) -> None:
    layout = a_layout(tmp_path)
    assert run(tmp_path, f"{failpoint}:eio@{count}") in (0, 1)
    check_whole(layout)
    assert run(tmp_path) == 0
    check_whole(layout)
