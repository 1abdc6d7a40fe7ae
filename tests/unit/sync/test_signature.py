"""What proves repomd.xml, and what does not."""

import pysequoia
import pytest

from station.sync.signature import SignatureRefused, verify_signature

DATA = b"<repomd/>"


class Signer:
    def __init__(self, name: str) -> None:
        key = pysequoia.Tsk.generate(f"{name} <{name}@example.invalid>")
        self.signer = key.signer()
        self.text = str(key.extract_certificate())
        self.fingerprint = str(key.extract_certificate().fingerprint)

    def sign(
        self, data: bytes, mode: pysequoia.SignatureMode = pysequoia.SignatureMode.DETACHED
    ) -> bytes:
        return bytes(pysequoia.sign(self.signer, data, mode=mode))


OURS, THEIRS = Signer("ours"), Signer("theirs")


def test_the_key_that_signed_is_named() -> None:
    assert verify_signature(DATA, OURS.sign(DATA), OURS.text) == OURS.fingerprint


def test_one_of_several_keys_is_enough() -> None:
    text = THEIRS.text + "\n" + OURS.text
    assert verify_signature(DATA, OURS.sign(DATA), text) == OURS.fingerprint


@pytest.mark.parametrize(
    ("signature", "why"),
    [
        (THEIRS.sign(DATA), "does not prove"),
        (OURS.sign(b"other bytes"), "does not prove"),
        (b"", "no OpenPGP signature"),
        (b"garbage", "no OpenPGP signature"),
        (OURS.sign(DATA) + THEIRS.sign(DATA), "not one detached signature"),
        (OURS.sign(DATA, pysequoia.SignatureMode.CLEAR), "not one detached signature"),
        (b"text before\n" + OURS.sign(DATA), "not one detached signature"),
        (OURS.text.encode(), "not one detached signature"),
        (b"x" * 70_000, "at most"),
    ],
)
def test_anything_else_is_refused_in_one_line(signature: bytes, why: str) -> None:
    with pytest.raises(SignatureRefused) as refused:
        verify_signature(DATA, signature, OURS.text)
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "  \n", "no key"])
def test_without_a_key_nothing_is_proven(text: str) -> None:
    with pytest.raises(SignatureRefused, match="gpgkey"):
        verify_signature(DATA, OURS.sign(DATA), text)


def test_a_revoked_key_proves_nothing() -> None:
    key = pysequoia.Tsk.generate("gone <gone@example.invalid>")
    certificate = key.extract_certificate()
    signed = bytes(pysequoia.sign(key.signer(), DATA, mode=pysequoia.SignatureMode.DETACHED))
    assert verify_signature(DATA, signed, str(certificate)) == certificate.fingerprint
    revocation = certificate.revoke(key.certifier())
    revoked = pysequoia.Cert.from_bytes(bytes(certificate) + bytes(revocation))
    with pytest.raises(SignatureRefused):
        verify_signature(DATA, signed, str(revoked))
