"""What the modules with a repository of their own have in common."""

from collections.abc import Iterator

import pytest

from tests.integration.repositories import Repository
from tests.integration.upstream import Upstream


@pytest.fixture(scope="module")
def upstream(repository: Repository) -> Iterator[Upstream]:
    """The module's `repository`, served."""
    with Upstream(repository.root) as server:
        yield server
