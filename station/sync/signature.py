"""Is repomd.xml signed by the source's key? The only module that knows the OpenPGP library.

The library judges expiry, revocation and weak digests (SHA-1 is refused) by its standard policy. What it would accept
and we do not: text before the signature, two signature blocks, a clear-signed document.
"""

import pysequoia

SIGNATURE_BYTES_MAX = 64 * 1024  # a detached signature has under 4 KiB, also a post-quantum one
_BEGIN = b"-----BEGIN PGP "
_BEGIN_SIGNATURE = b"-----BEGIN PGP SIGNATURE-----"


class SignatureRefused(ValueError):
    """The signature does not prove that the source's key signed these bytes; the message says what to do."""


def verify_signature(data: bytes, signature: bytes, key_text: str) -> str:
    """The fingerprint of the key among `key_text` that made the detached `signature` of `data`.

    Raises SignatureRefused: no such key, other bytes, expired, revoked, weak digest, malformed, more than one block.
    """
    certificates = _certificates(key_text)
    _check_form(signature)
    try:
        parsed = pysequoia.Sig.from_bytes(signature)
    except Exception as error:  # the library raises what its parser finds, of many types
        raise SignatureRefused(
            f"repomd.xml.asc is no OpenPGP signature: {_first_line(error)}"
        ) from error
    known = {certificate.fingerprint: certificate for certificate in certificates}
    try:
        verified = pysequoia.verify(
            bytes=data, store=lambda key_ids: list(known.values()), signature=parsed
        )
    except Exception as error:
        made_by = parsed.issuer_fingerprint or parsed.issuer_key_id or "an unnamed key"
        raise SignatureRefused(
            f"repomd.xml.asc, made by {made_by} with {_digest(parsed)}, does not prove repomd.xml: "
            f"{_first_line(error)}; the source's gpgkey holds {', '.join(known)}: "
            "if upstream changed its key, set the new gpgkey"
        ) from error
    made = {str(found.certificate) for found in verified.valid_sigs} & known.keys()
    if not made:
        raise SignatureRefused("repomd.xml.asc: no valid signature by the source's gpgkey")
    return min(made)


def _certificates(key_text: str) -> list[pysequoia.Cert]:
    if not key_text.strip():
        raise SignatureRefused(
            "is_repo_gpg_check_enabled is true and gpgkey is empty: set the source's gpgkey"
        )
    try:
        found = pysequoia.Cert.split_bytes(key_text.encode())
    except Exception as error:
        raise SignatureRefused(f"gpgkey is no OpenPGP key: {_first_line(error)}") from error
    if not found:
        raise SignatureRefused("gpgkey holds no OpenPGP key: set the source's gpgkey")
    return list(found)


def _check_form(signature: bytes) -> None:
    if len(signature) > SIGNATURE_BYTES_MAX:
        raise SignatureRefused(
            f"repomd.xml.asc has {len(signature)} bytes, at most {SIGNATURE_BYTES_MAX} are read"
        )
    if _BEGIN in signature and (
        signature.count(_BEGIN) != 1 or not signature.lstrip().startswith(_BEGIN_SIGNATURE)
    ):
        raise SignatureRefused("repomd.xml.asc is not one detached signature: upstream's mistake")


def _digest(signature: pysequoia.Sig) -> str:
    return str(signature.hash_algorithm).rpartition(".")[2]


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
