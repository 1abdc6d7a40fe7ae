"""Whom instances believe: what may be added, and that it is told under the signature of the group's CA."""

import base64
import subprocess
from pathlib import Path

import pytest

from station.peering.changes import Change
from station.peering.keys import Authority, KeysInvalid, create_authority, issue_public_leaf
from station.peering.trust import AUTHORITIES_MAX, TRUST_KEY, Trust

NOW = 1_800_000_000.0


@pytest.fixture(scope="module")
def ours() -> Authority:
    return create_authority("ours", NOW)


@pytest.fixture(scope="module")
def other() -> Authority:
    return create_authority("other", NOW)


def verified(bundle: bytes, ca: str, directory: Path) -> bool:
    """As instance-setup.sh does it."""
    told, _, signed = bundle.rpartition(b"# signed=")
    (directory / "told").write_bytes(told)
    (directory / "sig").write_bytes(base64.b64decode(signed))
    (directory / "ca").write_text(ca)
    pub = subprocess.run(
        ["openssl", "x509", "-in", "ca", "-noout", "-pubkey"],
        cwd=directory,
        capture_output=True,
        check=True,
    ).stdout
    (directory / "pub").write_bytes(pub)
    words = "openssl dgst -sha256 -verify pub -signature sig told".split()
    done = subprocess.run(words, cwd=directory, capture_output=True, check=False)
    return done.returncode == 0


def test_bundle_is_signed_by_the_groups_ca_and_by_nobody_else(
    ours: Authority, other: Authority, tmp_path: Path
) -> None:
    bundle = Trust().replaced(other.ca).bundle(ours.ca, ours.ca_key)
    assert bundle.startswith(b"# trust=1\n")
    assert ours.ca.encode() in bundle and other.ca.encode() in bundle
    assert verified(bundle, ours.ca, tmp_path)
    assert not verified(bundle, other.ca, tmp_path)
    assert not verified(bundle.replace(b"trust=1", b"trust=2"), ours.ca, tmp_path)


def test_nothing_but_certificates_of_authorities_is_kept(ours: Authority, other: Authority) -> None:
    text = f"Subject: somebody\n{other.ca}\ngarbage\n{other.ca}"
    trust = Trust().replaced(text)
    assert trust.pem.strip() == other.ca.strip()
    assert len(trust.authorities()) == 1
    assert trust.authorities()[0]["ends"] > NOW
    leaf = issue_public_leaf(ours, ["lb.example.com"], NOW)
    with pytest.raises(KeysInvalid, match="no certificate authority"):
        trust.replaced(leaf.chain)
    with pytest.raises(KeysInvalid, match="not certificates"):
        trust.replaced("garbage")


def test_a_key_is_never_kept(other: Authority) -> None:
    assert "PRIVATE" not in Trust().replaced(other.ca_key + other.ca).pem


def test_authorities_have_a_bound() -> None:
    many = "".join(create_authority(f"g{n}", NOW).ca for n in range(AUTHORITIES_MAX + 1))
    with pytest.raises(KeysInvalid, match="more than"):
        Trust().replaced(many)


def test_each_choice_has_a_higher_number_also_that_of_none(other: Authority) -> None:
    first = Trust().replaced(other.ca)
    none = first.replaced("")
    assert (first.number, none.number, none.pem) == (1, 2, "")


def test_settings_give_back_what_was_written(other: Authority) -> None:
    trust = Trust().replaced(other.ca)
    change: Change = trust.change()
    assert Trust.of({TRUST_KEY: change.value}) == trust
    assert Trust.of({TRUST_KEY: {"number": "x"}}) == Trust.of({}) == Trust()
