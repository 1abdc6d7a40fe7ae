"""Why a sync or a fill did not succeed: one code for programs, one sentence for people."""

DETAIL_CHARS_MAX = 600  # a detail repeats parts of hostile input; status lines and records carry it


class SyncFailed(Exception):
    """The job ended without what it was for; what is served stays as it was.

    `code` is one of CODES, `detail` names field, value and cure, `retriable` says whether the same job may succeed
    later without anybody changing anything.
    """

    def __init__(self, code: str, detail: str, *, retriable: bool) -> None:
        assert code in CODES, code
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = "".join(c if c.isprintable() else "?" for c in detail)[:DETAIL_CHARS_MAX]
        self.retriable = retriable


CODES = frozenset(
    {
        "job",  # the order itself is malformed
        "busy",  # another process of this station works on this source
        "unreachable",  # no connection, no answer in time, too slow
        "status",  # upstream answered with an HTTP error
        "redirect",  # refused by the egress rules, to plain http, or too many
        "repomd",  # repomd.xml is missing, not XML, or unsafe
        "signature",  # required and not proven
        "rollback",  # older than what was accepted before
        "metadata",  # a metadata file does not match repomd.xml or does not parse
        "missing",  # packages that upstream names and does not have
        "checksum",  # a file's bytes are not what the metadata says
        "changing",  # upstream changed during each of our passes
        "no-space",  # the storage lacks room for it
        "storage",  # the storage cannot be read or written
        "deadline",  # the job's total time is over
    }
)
