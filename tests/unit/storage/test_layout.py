"""The layout: names that were not parsed never become paths."""

from pathlib import Path

import pytest

from station.storage.layout import Layout, manifest_copy

R = "ab" * 32


def test_paths_are_where_the_format_says() -> None:
    layout = Layout(Path("/mnt"))
    assert str(layout.pool(R)) == f"/mnt/pool/ab/{R}"
    assert str(layout.manifest("ol9", R)) == f"/mnt/sources/ol9/{R}/manifest"
    assert str(layout.complete("ol9", R)) == f"/mnt/sources/ol9/{R}/complete"
    assert str(layout.live("ol9")) == "/mnt/sources/ol9/live"
    assert str(layout.staging("A")) == "/mnt/staging/A"
    assert str(manifest_copy(Path("/s"), "ol9", R)) == f"/s/ol9/{R}"


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", ".x", "a\0", "x" * 200])
def test_hostile_names_are_refused(name: str) -> None:
    layout = Layout(Path("/mnt"))
    for make in (layout.pool, layout.source, layout.live, layout.staging, layout.trash):
        with pytest.raises(ValueError):
            make(name)
    with pytest.raises(ValueError):
        layout.manifest("ol9", name)
    with pytest.raises(ValueError):
        manifest_copy(Path("/s"), name, R)
