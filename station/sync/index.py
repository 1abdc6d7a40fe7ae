"""The three files that name a revision: repomd.xml, its signature, its key. Read from upstream, judged, kept whole."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from station.model.identity import Revision
from station.repo.errors import RepoError
from station.repo.location import REPOMD
from station.repo.manifest import Entry
from station.repo.repomd import REPOMD_BYTES_MAX, RepoMd, parse_repomd
from station.repo.revision import revision_of
from station.sync.conversation import Answer, Conversation
from station.sync.failure import SyncFailed
from station.sync.order import Order
from station.sync.signature import SIGNATURE_BYTES_MAX, SignatureRefused, verify_signature

KEY_BYTES_MAX = 256 * 1024  # a key with the signatures of many others
ASC, KEY = REPOMD + ".asc", REPOMD + ".key"
FUTURE_S = 24 * 3600  # a timestamp further ahead of our clock is a mistake, not a high-water mark
# Object stores answer 403 for what is not there.
ABSENT = frozenset({403, 404, 410})


@dataclass(frozen=True, slots=True)
class Index:
    """One state of a source as its files say it; `signature` and `key` are None where upstream has none."""

    repomd: bytes
    signature: bytes | None
    key: bytes | None
    parsed: RepoMd
    revision: Revision

    @property
    def order(self) -> int:
        """Greatest timestamp in repomd.xml, seconds since 1970."""
        return self.parsed.order

    def files(self) -> dict[str, bytes]:
        """The files that are there, by location."""
        found = {REPOMD: self.repomd, ASC: self.signature, KEY: self.key}
        return {path: content for path, content in found.items() if content is not None}

    def entries(self) -> list[Entry]:
        """Their lines in the manifest."""
        return [
            Entry(path, hashlib.sha256(content).hexdigest(), len(content), self.order)
            for path, content in self.files().items()
        ]


def judge_index(order: Order, repomd: bytes, signature: bytes | None, key: bytes | None) -> Index:
    """Signature first, where the source demands one, then the parse. Raises SyncFailed "signature", "repomd"."""
    if order.is_repo_gpg_check_enabled:
        if signature is None:
            raise SyncFailed(
                "signature",
                f"{order.url}{ASC} is not there and is_repo_gpg_check_enabled is true: upstream does not sign "
                "its metadata; turn the check off for this source if that is meant",
                retriable=True,
            )
        try:
            verify_signature(repomd, signature, order.gpgkey)
        except SignatureRefused as error:
            raise SyncFailed("signature", f"{order.url}{ASC}: {error}", retriable=True) from error
    try:
        parsed = parse_repomd(repomd)
    except RepoError as error:
        raise SyncFailed("repomd", f"{order.url}{REPOMD}: {error}", retriable=True) from error
    return Index(repomd, signature, key, parsed, revision_of(repomd, signature, key))


def refuse_rollback(order: Order, index: Index, now: float) -> None:
    """Raises SyncFailed "rollback" when `index` is older than what was accepted before. `now`: seconds since 1970."""
    accepted = order.accepted_order
    if order.allow_rollback or accepted > now + FUTURE_S:
        return
    if index.order < accepted:
        raise SyncFailed(
            "rollback",
            f"{order.url}{REPOMD}: timestamp {index.order} is older than {accepted}, which is live: a stale mirror, "
            "or an attack; sync with allow_rollback if upstream really went back",
            retriable=True,
        )


@dataclass(frozen=True, slots=True)
class Seen:
    """repomd.xml as upstream gave it, and what a conditional request needs next time."""

    content: bytes
    etag: str
    last_modified: str

    def validators(self) -> dict[str, str]:
        """For a conditional request."""
        return {"etag": self.etag, "last_modified": self.last_modified}


async def read_repomd(
    conversation: Conversation, order: Order, known: Mapping[str, str]
) -> Seen | None:
    """repomd.xml by one request, or None: not changed. `known`: "etag" and "last_modified" of what we have.

    Raises SyncFailed "unreachable", "status", "redirect".
    """
    headers = {}
    if known.get("etag"):
        headers["If-None-Match"] = known["etag"]
    if known.get("last_modified"):
        headers["If-Modified-Since"] = known["last_modified"]
    url = order.url + REPOMD
    answer = await conversation.get(url, size_max=REPOMD_BYTES_MAX, headers=headers)
    if answer.status == 304 and headers:
        return None
    if answer.status != 200:
        raise _status(url, answer)
    etag, modified = answer.headers.get("etag", ""), answer.headers.get("last-modified", "")
    return Seen(answer.body, etag[:512], modified[:64])


async def read_beside(
    conversation: Conversation, order: Order
) -> tuple[bytes | None, bytes | None]:
    """repomd.xml.asc and .key, None for what is not there. Raises SyncFailed "unreachable", "status", "redirect"."""
    found: list[bytes | None] = []
    for path, size_max in ((ASC, SIGNATURE_BYTES_MAX), (KEY, KEY_BYTES_MAX)):
        answer = await conversation.get(order.url + path, size_max=size_max)
        if answer.status not in ABSENT | {200}:
            raise _status(order.url + path, answer)
        # A page for people with status 200 instead of a 404 is no signature.
        is_there = answer.status == 200 and answer.body.lstrip()[:1] != b"<"
        found.append(answer.body if is_there else None)
    return found[0], found[1]


def _status(url: str, answer: Answer) -> SyncFailed:
    return SyncFailed(
        "status",
        f"{url}: {answer.status}: check the source's url",
        retriable=answer.status in ABSENT or answer.status == 429 or answer.status >= 500,
    )
