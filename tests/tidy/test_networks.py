"""Stations under test have fixed ports, so each test module has loopback networks of its own: two can run at once."""

import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]

# "127.41.1" or "127.44.1.11", the whole string: what stations listen on. 127.0.0 is for ephemeral ports.
NETWORK = re.compile(r'"(127\.\d+\.\d+)(?:\.\d+)?"')


def test_no_two_modules_use_one_loopback_network() -> None:
    users: dict[str, set[str]] = defaultdict(set)
    for top in ("integration", "accept", "bench"):
        for path in (ROOT / top).rglob("*.py"):
            for network in NETWORK.findall(path.read_text(encoding="utf-8")):
                users[network].add(path.relative_to(ROOT).as_posix())
    users.pop("127.0.0", None)
    assert users, "the tests moved; look for them there"
    shared = {network: sorted(paths) for network, paths in users.items() if len(paths) > 1}
    assert not shared
