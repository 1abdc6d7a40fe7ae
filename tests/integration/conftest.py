"""What several modules begin with."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.proxy_harness import Proxy
from tests.integration.repositories import Repository
from tests.integration.upstream import Upstream


@pytest.fixture(scope="module")
def upstream(repository: Repository) -> Iterator[Upstream]:
    """The module's `repository`, served."""
    with Upstream(repository.root) as server:
        yield server


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    """A proxy worker that is not started yet."""
    worker = Proxy(tmp_path)
    try:
        yield worker
    finally:
        worker.stop()
