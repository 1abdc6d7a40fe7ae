"""A sync: what upstream has now, whole, or nothing.

repomd (signature, then parse) → metadata → manifest → packages → repomd again: when it changed meanwhile, what was
fetched is of use to the next pass, and nothing of a mixture is ever staged.
"""

from dataclasses import dataclass, replace

from station.model.identity import Revision
from station.runtime.clock import Clock
from station.runtime.lines import line
from station.sync.conversation import Conversation
from station.sync.failure import SyncFailed
from station.sync.index import (
    Index,
    Seen,
    judge_index,
    read_beside,
    read_repomd,
    refuse_rollback,
)
from station.sync.memory import Memory, recall, remember
from station.sync.order import Order
from station.sync.staging import Staged, Staging

# What a repository that changes under our hands looks like.
_MAY_BE_A_CHANGE = frozenset({"signature", "metadata", "missing", "checksum"})


async def sync(
    order: Order, conversation: Conversation, staging: Staging, clock: Clock
) -> Staged | Revision:
    """Bring the source up to date. A revision alone: it is what upstream has, and it was whole here already.

    Raises SyncFailed; what was verified stays in the pool.
    """
    staging.require_storage()
    seen = await _news(order, conversation, staging, clock)
    if isinstance(seen, Revision):
        return seen
    for _ in range(order.limits.passes):
        outcome: _Pass | Revision | SyncFailed
        try:
            outcome = await _one_pass(order, conversation, staging, clock, seen)
        except SyncFailed as error:
            if error.code not in _MAY_BE_A_CHANGE:
                raise
            outcome = error
        now = await read_repomd(conversation, order, seen.validators())
        if now is None or now.content == seen.content:
            return _conclude(order, staging, clock, seen, outcome)
        line("info", "sync.upstream_changed", source=order.source)
        seen = now
    raise SyncFailed(
        "changing",
        f"{order.url}: repomd.xml changed during each of {order.limits.passes} passes",
        retriable=True,
    )


@dataclass(frozen=True, slots=True)
class _Pass:
    """All bytes of `index` are here, but for the tolerated `missing` paths."""

    index: Index
    missing: tuple[str, ...]


async def _news(
    order: Order, conversation: Conversation, staging: Staging, clock: Clock
) -> Seen | Revision:
    """repomd.xml by one request, or the remembered revision when it is unchanged and whole here."""
    memory = recall(order.state, order.source, order.url)
    if memory is not None and staging.is_whole(memory.revision):
        seen = await read_repomd(conversation, order, memory.validators())
        if seen is not None and not memory.is_same(seen):
            return seen
        remember(order.state, order.source, replace(memory, looked_at=clock.wall()))
        return memory.revision
    seen = await read_repomd(conversation, order, {})
    assert seen is not None  # an unconditional request is not answered with "not modified"
    return seen


async def _one_pass(
    order: Order, conversation: Conversation, staging: Staging, clock: Clock, seen: Seen
) -> _Pass | Revision:
    signature, key = await read_beside(conversation, order)
    index = judge_index(order, seen.content, signature, key)
    refuse_rollback(order, index, clock.wall())
    if staging.is_whole(index.revision):
        return index.revision
    content = await staging.metadata(index)
    return _Pass(index, await staging.packages(content))


def _conclude(
    order: Order,
    staging: Staging,
    clock: Clock,
    seen: Seen,
    outcome: _Pass | Revision | SyncFailed,
) -> Staged | Revision:
    """Upstream is what it was when the pass began: the pass counts."""
    if isinstance(outcome, SyncFailed):
        raise outcome
    if isinstance(outcome, Revision):
        found: Staged | Revision = outcome
        revision = outcome
    else:
        found = staging.complete(outcome.index, outcome.missing)
        revision = found.revision
    remember(order.state, order.source, Memory.of(order.url, revision, seen, clock.wall()))
    return found
