"""Texts that tell dnf where to go: a mirrorlist or a metalink with URLs pinned to one revision.

Whatever station answers the next request, the whole conversation is then about that revision.
"""

from collections.abc import Iterable
from html import escape


def pinned_urls(
    scheme: str, port: int, hostname: str, addresses: Iterable[str], source: str, revision: str
) -> list[str]:
    """URLs of `source` at `revision`: the balancer's first, then each station's own, in the order given.

    Without a revision: of the live view.
    """
    hosts = dict.fromkeys(host for host in (hostname, *addresses) if host)
    pin = f"@{revision}/" if revision else ""
    return [f"{scheme}://{_bracket(host)}:{port}/repo/{source}/{pin}" for host in hosts]


def render_mirrorlist(urls: Iterable[str]) -> bytes:
    """One URL per line, as dnf's `mirrorlist=` reads it."""
    return "".join(f"{url}\n" for url in urls).encode("ascii")


def render_metalink(urls: list[str], *, sha256: str, size: int, timestamp: int) -> bytes:
    """Metalink 3 as librepo reads it: the digest of repomd.xml binds whatever mirror answers.

    `timestamp` is the repository's own (seconds); `size` and `sha256` are of repomd.xml.
    """
    resources = "".join(
        f'    <url protocol="{url.partition(":")[0]}" type="{url.partition(":")[0]}" '
        f'preference="{max(1, 100 - position)}">{escape(url)}repodata/repomd.xml</url>\n'
        for position, url in enumerate(urls)
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<metalink version="3.0" xmlns="http://www.metalinker.org/" type="dynamic" '
        'xmlns:mm0="http://fedorahosted.org/mirrormanager">\n'
        ' <files><file name="repomd.xml">\n'
        f"   <mm0:timestamp>{timestamp}</mm0:timestamp>\n"
        f"   <size>{size}</size>\n"
        f'   <verification><hash type="sha256">{sha256}</hash></verification>\n'
        f'   <resources maxconnections="1">\n{resources}   </resources>\n'
        " </file></files>\n</metalink>\n"
    ).encode("ascii")


def _bracket(host: str) -> str:
    return f"[{host}]" if ":" in host else host
