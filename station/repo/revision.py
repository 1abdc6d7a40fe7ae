"""The identity of one state of a source: sha256 over repomd.xml, its signature and its key together.

A repository that is signed anew is therefore another revision.
"""

import hashlib

from station.model.identity import Revision

_FRAME = b"station revision 1\n"


def revision_of(repomd: bytes, signature: bytes | None, key: bytes | None) -> Revision:
    """The revision. `signature` is repomd.xml.asc, `key` is repomd.xml.key; None where upstream has none.

    Each part is preceded by whether it is there and by its length, so that no two states give the same bytes.
    """
    hasher = hashlib.sha256(_FRAME)
    for part in (repomd, signature, key):
        if part is None:
            hasher.update(b"-")
        else:
            hasher.update(b"+%d\n" % len(part))
            hasher.update(part)
    return Revision(hasher.hexdigest())
