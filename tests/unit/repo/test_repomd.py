"""repomd.xml: what createrepo writes is read; what could do harm is refused, with the field named."""

import pytest

from station.repo.checksum import Checksum
from station.repo.errors import RepoError
from station.repo.repomd import parse_repomd

SHA = "ab" * 32


def data(
    kind: str = "primary",
    href: str = "repodata/p.xml.gz",
    checksum: str = f'<checksum type="sha256">{SHA}</checksum>',
    more: str = "<timestamp>1700000000</timestamp><size>10</size><open-size>20</open-size>",
) -> str:
    return f'<data type="{kind}">{checksum}<location href="{href}"/>{more}</data>'


def repomd(*records: str, revision: str = "1700000001") -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<repomd xmlns="http://linux.duke.edu/metadata/repo" xmlns:rpm="http://linux.duke.edu/metadata/rpm">'
        f"<revision>{revision}</revision>{''.join(records)}</repomd>"
    ).encode()


def test_records_sizes_checksums_and_order_are_read() -> None:
    opened = f'<open-checksum type="sha512">{"cd" * 64}</open-checksum><timestamp>1700000009.25</timestamp>'
    found = parse_repomd(repomd(data(), data("updateinfo", "repodata/u.xml.zst", more=opened)))
    assert found.revision == "1700000001"
    assert found.order == 1700000009
    assert found.primary.checksum == Checksum("sha256", SHA)
    assert (found.primary.size, found.primary.open_size) == (10, 20)
    other = found.records[1]
    assert other.open_checksum == Checksum("sha512", "cd" * 64)
    assert other.size is None


def test_elements_we_do_not_know_are_passed_over() -> None:
    more = "<database_version>10</database_version><header-size>5</header-size>"
    tags = "<tags><content>binary</content><distro cpeid='x'>y</distro></tags>"
    assert len(parse_repomd(repomd(tags, data(more=more))).records) == 1


@pytest.mark.parametrize(
    ("records", "complaint"),
    [
        ([], "primary"),
        ([data("filelists")], "primary"),
        ([data(), data(href="repodata/q.xml")], "primary"),
        ([data(href="../../etc/passwd")], "repomd primary location"),
        ([data(href="/etc/passwd")], "repomd primary location"),
        ([data(href="http://elsewhere/p.xml")], "repomd primary location"),
        ([data(href="repodata/repomd.xml")], "repomd primary location"),
        ([data(href="&#10;x")], "repomd primary location"),
        ([data(checksum="")], "repomd primary checksum"),
        ([data(checksum=f'<checksum type="sha1">{"ab" * 20}</checksum>')], "sha256"),
        ([data(checksum=f"<checksum>{SHA}</checksum>")], "repomd primary checksum"),
        ([data(checksum=f'<checksum type="sha256">{SHA}</checksum>' * 2)], "given once"),
        ([data(more="<size>-1</size>")], "repomd primary size"),
        ([data(more=f"<size>{'9' * 4300}</size>")], "repomd"),
        ([data(more="<timestamp>" + "9" * 30 + "</timestamp>")], "repomd primary timestamp"),
        (
            [data(), data("other", checksum=f'<checksum type="sha256">{"00" * 32}</checksum>')],
            "one path",
        ),
        ([data(kind="")], "type"),
        ([data(href="x").replace("<location ", '<location xml:base="http://b/" ')], "xml:base"),
        ([data("x", f"repodata/{n}") for n in range(300)], "at most"),
    ],
)
def test_what_could_do_harm_is_refused(records: list[str], complaint: str) -> None:
    with pytest.raises(RepoError) as caught:
        parse_repomd(repomd(*records))
    assert complaint in str(caught.value)
    assert len(str(caught.value)) < 500


BOMB = b'<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><repomd>&b;</repomd>'


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<html>please log in</html>",
        b"<repomd>",
        b"\x00\x01\x02",
        BOMB,
        b'<!DOCTYPE repomd SYSTEM "file:///etc/passwd"><repomd/>',
        b"<repomd>" + b"<a>" * 200 + b"</a>" * 200 + b"</repomd>",
        b"<repomd " + b" ".join(b'a%d=""' % n for n in range(1000)) + b"/>",
        b"<repomd>" + b" " * 2_000_000 + b"</repomd>",
        b"<repomd><revision>" + b"x" * 10_000 + b"</revision></repomd>",
    ],
)
def test_what_is_no_index_is_refused(document: bytes) -> None:
    with pytest.raises(RepoError, match=r"^repomd"):
        parse_repomd(document)


def test_a_weak_checksum_passes_where_it_is_allowed() -> None:
    weak = data(checksum=f'<checksum type="sha">{"ab" * 20}</checksum>')
    assert parse_repomd(repomd(weak), is_weak_allowed=True).primary.checksum.kind == "sha"
