"""Why the storage did not do what it was asked, as a code for programs and a text for people."""

import errno

# Codes of StorageError; the first six are also states of the storage.
CODES = frozenset(
    "missing foreign read-only full denied stalled "
    "damaged incomplete not-empty unknown-op bad-request died slow io".split()
)

_BY_ERRNO = {
    errno.ENOSPC: "full",
    errno.EDQUOT: "full",
    errno.EROFS: "read-only",
    errno.EACCES: "denied",
    errno.EPERM: "denied",
    errno.ESTALE: "missing",
    errno.ENOTCONN: "missing",
    errno.ENODEV: "missing",
    errno.ENXIO: "missing",
}


class StorageError(Exception):
    """The operation did not happen, or not whole; what is visible is whole. `code` is one of CODES."""

    def __init__(self, code: str, detail: str) -> None:
        assert code in CODES, code
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class StorageStalled(StorageError):
    """The storage did not answer in time: a hanging mount. The process that waits for it was killed and replaced."""

    def __init__(self, detail: str = "the storage did not answer in time") -> None:
        super().__init__("stalled", detail)


def from_os_error(error: OSError) -> StorageError:
    """The same, told by the errno."""
    return StorageError(_BY_ERRNO.get(error.errno or 0, "io"), str(error))
