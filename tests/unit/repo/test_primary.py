"""primary.xml: both readers read the same, in any pieces; bounds hold."""

import hashlib
import time
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from station.repo.checksum import Checksum
from station.repo.errors import RepoError
from station.repo.primary import Package, PrimaryParser, parse_primary
from station.repo.strict_xml import TOKEN_BYTES_MAX

HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<metadata xmlns="http://linux.duke.edu/metadata/common" '
    'xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="{count}">\n'
)


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def package_xml(package: Package, description: str = "", more: str = "") -> str:
    return (
        '<package type="rpm">\n  <name>n</name>\n  <arch>noarch</arch>\n'
        '  <version epoch="0" ver="1" rel="1"/>\n'
        f'  <checksum type="{package.checksum.kind}" pkgid="YES">{package.checksum.hex}</checksum>\n'
        f"  <summary>s</summary>\n  <description>{escape(description)}</description>\n"
        f'  <time file="{package.time}" build="1"/>\n'
        f'  <size package="{package.size}" installed="0" archive="124"/>\n'
        f'  <location href="{escape(package.location)}"/>\n'
        f'  <format>\n    <rpm:entry name="/bin/x" size="9"/>{more}\n  </format>\n</package>\n'
    )


def document(*packages: str, count: int | None = None) -> bytes:
    head = HEAD.format(count=len(packages) if count is None else count)
    return (head + "".join(packages) + "</metadata>\n").encode()


A = Package("Packages/a.rpm", 10, Checksum("sha256", sha("a")), 1700000000)
B = Package("Packages/b+c~1.rpm", 2**40, Checksum("sha512", "ab" * 64), 0)

packages = st.lists(
    st.builds(
        Package,
        st.text("abc+~^", min_size=1, max_size=5).map(lambda name: f"p/{name}.rpm"),
        st.integers(0, 2**40),
        st.text(max_size=3).map(lambda text: Checksum("sha256", sha(text))),
        st.integers(0, 2**33),
    ),
    max_size=5,
)
descriptions = st.sampled_from(
    ["", '<location href="evil"/>', "</package>", '<checksum type="sha256">', "é & ü", "<!--"]
)


def in_pieces(xml: bytes, size: int) -> list[bytes]:
    return [xml[at : at + size] for at in range(0, len(xml), size)]


@given(packages, descriptions, st.integers(1, 400), st.booleans())
def test_both_readers_read_the_same_in_any_pieces(
    wanted: list[Package], description: str, size: int, by_expat: bool
) -> None:
    xml = document(*(package_xml(package, description) for package in wanted))
    if by_expat:
        xml = xml.replace(b"<checksum type=", b"<checksum  type=")
    assert list(parse_primary(in_pieces(xml, size))) == wanted


@settings(max_examples=30)
@given(st.integers(0, 3), st.integers(1, 300))
def test_a_package_spelled_otherwise_hands_the_rest_to_expat(odd: int, size: int) -> None:
    texts = [package_xml(A._replace(location=f"p/{n}.rpm")) for n in range(4)]
    texts[odd] = texts[odd].replace(
        f'<location href="p/{odd}.rpm"/>', f"<location href='p/{odd}.rpm' />"
    )
    assert "href='" in texts[odd]
    found = list(parse_primary(in_pieces(document(*texts), size)))
    assert [package.location for package in found] == [f"p/{n}.rpm" for n in range(4)]


def test_comments_and_cdata_do_not_hide_or_forge_a_package() -> None:
    forged = "<!-- " + package_xml(B) + " -->"
    cdata = package_xml(A).replace("<summary>s", '<summary><![CDATA[<location href="evil"/>]]>')
    assert list(parse_primary([document(forged, cdata, count=1)])) == [A]


def test_escapes_in_a_location_are_read() -> None:
    odd = A._replace(location="Packages/a&b.rpm")
    assert list(parse_primary([document(package_xml(odd))])) == [odd]


@pytest.mark.parametrize("xml", [document(), document().replace(b' packages="0"', b"")])
def test_an_empty_repository_is_valid_when_it_says_so(xml: bytes) -> None:
    assert list(parse_primary([xml])) == []


@pytest.mark.parametrize(
    ("xml", "complaint"),
    [
        (b"", "well-formed"),
        (document(count=7), "7 packages announced"),
        (document(package_xml(A))[:-20], "well-formed"),
        (document(package_xml(A)) + b"<more/>", "well-formed"),
        (document(package_xml(A)) + package_xml(B).encode(), "well-formed"),
        (b"<html/>", "root element"),
        (b'<!DOCTYPE metadata SYSTEM "x">' + document(), "DOCTYPE"),
        (document(package_xml(A._replace(location="../a.rpm"))), "primary location"),
        (document(package_xml(A._replace(location="repodata/repomd.xml"))), "primary location"),
        (document(package_xml(A._replace(checksum=Checksum("sha1", "ab" * 20)))), "sha256"),
        (document(package_xml(A._replace(checksum=Checksum("sha256", "AB" * 32)))), "lower-case"),
        (
            document(package_xml(A).replace('package="10"', 'package="9999999999999999"')),
            "15 digits",
        ),
        (document(package_xml(A).replace('package="10"', 'package="-1"')), "size"),
        (
            document(package_xml(A).replace("<location", '<location xml:base="http://x/"')),
            "xml:base",
        ),
        (
            document(package_xml(A).replace("<format>", '<location href="b.rpm"/><format>')),
            "given once",
        ),
        (document(package_xml(A).replace('<location href="Packages/a.rpm"/>', "")), "location"),
        (document("<package type='rpm'>" + "<a>" * 100), "levels"),
    ],
)
def test_what_is_wrong_is_refused_and_named(xml: bytes, complaint: str) -> None:
    for size in (7, 10**6):
        with pytest.raises(RepoError) as caught:
            list(parse_primary(in_pieces(xml, size)))
        assert complaint in str(caught.value)


@pytest.mark.parametrize(
    "inner",
    [
        b"<a b='" + b"x" * (8 * 1024 * 1024) + b"'/>",
        b"<a " + b" ".join(b"a%d=''" % n for n in range(300_000)) + b"/>",
        b"<a>" * 200_000,
    ],
)
def test_huge_tags_attributes_and_depth_cost_little(inner: bytes) -> None:
    xml = HEAD.format(count=1).encode() + b"<package type='rpm'>" + inner
    began = time.process_time()
    with pytest.raises(RepoError):
        list(parse_primary(in_pieces(xml, 64 * 1024)))
    assert time.process_time() - began < 2.0


def test_a_package_without_end_is_given_up() -> None:
    parser = PrimaryParser()
    parser.feed(HEAD.format(count=1).encode() + b'<package type="rpm">')
    with pytest.raises(RepoError):
        for _ in range(20 * 1024 * 1024 // TOKEN_BYTES_MAX):
            parser.feed(b"<" + b"x" * TOKEN_BYTES_MAX)
