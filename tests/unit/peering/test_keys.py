"""The group's certificate authority and the files it lies in."""

import hashlib
import ssl
import time
from dataclasses import replace
from pathlib import Path

import pytest

from station.peering.keys import (
    LEAF_DAYS,
    Authority,
    KeysInvalid,
    Leaf,
    certificate,
    create_authority,
    fingerprint,
    issue_peer_leaf,
    issue_public_leaf,
    peer_host_name,
)
from station.peering.pki import Pki, public_names, write_secret
from tests.integration.peering_station import peer_port

NOW = 1_800_000_000.0
DAY = 86_400.0


@pytest.fixture(scope="module")
def authority() -> Authority:
    return create_authority("lb.example.com", NOW)


def pki_in(tmp_path: Path, authority: Authority, now: float = NOW) -> Pki:
    pki = Pki(tmp_path)
    pki.create(
        authority,
        issue_peer_leaf(authority, "StationA", now),
        issue_public_leaf(authority, ["lb.example.com", "10.0.0.1"], now),
    )
    return pki


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> str:
    """A TLS handshake through memory; the client's common name as the server sees it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=name)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    theirs.do_handshake()
    der = theirs.getpeercert(binary_form=True)
    return Leaf(ssl.DER_cert_to_PEM_cert(der), "").common_name if der else ""


def test_authority_survives_the_wire(authority: Authority) -> None:
    assert Authority.from_wire(authority.to_wire()) == authority


def test_authority_of_mixed_groups_is_refused(authority: Authority) -> None:
    other = create_authority("other", NOW)
    for part in ("ca_key", "peers_ca", "peers_ca_key", "public_ca", "public_ca_key"):
        mixed = replace(authority, **{part: getattr(other, part)})
        with pytest.raises(KeysInvalid):
            Authority.from_wire(mixed.to_wire())


@pytest.mark.parametrize("message", [None, [], {}, {"ca": 1}, {"ca": "x" * 100_000}])
def test_key_material_that_is_none_is_refused(message: object) -> None:
    with pytest.raises(KeysInvalid):
        Authority.from_wire(message)


def test_no_key_shows_in_a_representation(authority: Authority) -> None:
    leaf = issue_peer_leaf(authority, "StationA", NOW)
    assert "PRIVATE" not in repr(authority) + repr(leaf)


def test_peer_leaf_names_the_station(authority: Authority) -> None:
    leaf = issue_peer_leaf(authority, "StationA", NOW, serial="abc123")
    assert leaf.common_name == "StationA"
    assert leaf.names == ("stationa.peer.station",)
    assert leaf.serial == "abc123"


def test_station_name_that_would_be_cut_in_a_certificate_is_refused(authority: Authority) -> None:
    assert issue_peer_leaf(authority, "a" * 64, NOW).common_name == "a" * 64
    with pytest.raises(KeysInvalid, match="at most 64"):
        issue_peer_leaf(authority, "a" * 65, NOW)


@pytest.mark.parametrize("name", ["a.b", "a_b", "a..b", "xn--a", "a-", "A" * 64])
def test_station_name_that_is_no_dns_label_gets_a_host_name_all_the_same(name: str) -> None:
    host = peer_host_name(name)
    assert host == peer_host_name(name)
    assert host.encode("idna").decode() == host


def test_public_leaf_carries_its_intermediate_and_all_names(authority: Authority) -> None:
    leaf = issue_public_leaf(authority, ["lb.example.com", "10.0.0.1", "fd00::1"], NOW)
    assert leaf.names == ("lb.example.com", "10.0.0.1", "fd00::1")
    assert leaf.chain.count("BEGIN CERTIFICATE") == 2
    life = certificate(leaf.chain).not_valid_after_utc.timestamp() - NOW
    assert life == LEAF_DAYS * DAY
    assert certificate(leaf.chain).not_valid_before_utc.timestamp() == NOW - 3600


def test_files_are_for_their_owner_alone(tmp_path: Path, authority: Authority) -> None:
    pki = pki_in(tmp_path, authority)
    assert pki.directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in pki.directory.iterdir()} == {0o600}
    assert {path.name for path in pki.directory.iterdir()} == {
        f"{name}.{end}"
        for name in ("ca", "peers-ca", "public-ca", "peer", "public")
        for end in ("pem", "key")
    }
    assert pki.authority() == authority


def test_key_open_to_others_is_refused(tmp_path: Path, authority: Authority) -> None:
    pki = pki_in(tmp_path, authority)
    (pki.directory / "ca.key").chmod(0o640)
    with pytest.raises(KeysInvalid, match="chmod 600"):
        pki.authority()


def test_missing_key_is_named(tmp_path: Path, authority: Authority) -> None:
    pki = pki_in(tmp_path, authority)
    (pki.directory / "peers-ca.key").unlink()
    with pytest.raises(KeysInvalid, match=r"peers-ca\.key"):
        pki.authority()


def test_nothing_is_renewed_before_two_thirds_of_its_life(
    tmp_path: Path, authority: Authority
) -> None:
    pki = pki_in(tmp_path, authority)
    names = ["lb.example.com", "10.0.0.1"]
    assert pki.renew("StationA", names, NOW + LEAF_DAYS * DAY * 0.66) == []
    assert pki.renew("StationA", names, NOW + LEAF_DAYS * DAY * 0.67) == ["peer", "public"]
    assert pki.renew("StationA", names, NOW + LEAF_DAYS * DAY * 0.67) == []


def test_renewal_keeps_the_key_so_that_the_pair_always_fits(
    tmp_path: Path, authority: Authority
) -> None:
    pki = pki_in(tmp_path, authority)
    before = pki.peer_leaf()
    pki.renew("StationA", ["lb.example.com", "10.0.0.1"], NOW + LEAF_DAYS * DAY)
    after = pki.peer_leaf()
    assert after.key == before.key
    assert after.serial != before.serial
    pki.peer_client_context()


def test_new_address_gets_a_new_public_leaf(tmp_path: Path, authority: Authority) -> None:
    pki = pki_in(tmp_path, authority)
    assert pki.renew("StationA", ["lb.example.com", "10.0.0.9"], NOW) == ["public"]
    assert pki.public_leaf().names == ("lb.example.com", "10.0.0.9")


def test_public_names_are_the_balancer_then_the_address_once_each() -> None:
    assert public_names("lb.example.com", "") == ["lb.example.com"]
    assert public_names("10.0.0.1", "10.0.0.1") == ["10.0.0.1"]
    assert public_names("a.example.com", "lb.example.com", "a.example.com") == [
        "lb.example.com",
        "a.example.com",
    ]
    assert public_names("lb.example.com", "FD00::0001") == ["lb.example.com", "fd00::1"]


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.mkdir()
    with pytest.raises(OSError):
        write_secret(path, "new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]


# The contexts, through a handshake in memory. Here the certificates must be valid now, by the kernel's clock.


@pytest.fixture
def two(tmp_path: Path) -> tuple[Pki, Pki]:
    now = time.time()
    authority = create_authority("lb.example.com", now)
    made = []
    for name in ("StationA", "Station_B"):
        pki = Pki(tmp_path / name)
        public = issue_public_leaf(authority, ["lb.example.com"], now)
        pki.create(authority, issue_peer_leaf(authority, name, now), public)
        made.append(pki)
    return made[0], made[1]


def test_peers_of_one_group_shake_hands_and_know_each_other(two: tuple[Pki, Pki]) -> None:
    a, b = two
    assert (
        handshake(a.peer_client_context(), peer_port(b), peer_host_name("Station_B")) == "StationA"
    )


def test_peer_that_is_another_station_than_the_one_dialled_is_refused(
    two: tuple[Pki, Pki],
) -> None:
    a, b = two
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        handshake(a.peer_client_context(), peer_port(b), peer_host_name("StationC"))


def test_peer_of_another_group_is_refused(two: tuple[Pki, Pki], tmp_path: Path) -> None:
    a, _ = two
    other = pki_in(tmp_path / "other", create_authority("lb.example.com", time.time()), time.time())
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(a.peer_client_context(), peer_port(other), "stationa.peer.station")


def test_peer_whose_certificate_has_expired_is_refused(two: tuple[Pki, Pki]) -> None:
    a, b = two
    late = issue_peer_leaf(a.authority(), "StationA", time.time() - (LEAF_DAYS + 1) * DAY)
    write_secret(a.directory / "peer.pem", late.chain)
    write_secret(a.directory / "peer.key", late.key)
    with pytest.raises(ssl.SSLError, match=r"(?i)expired"):
        handshake(a.peer_client_context(), peer_port(b), peer_host_name("Station_B"))


def test_peer_without_a_certificate_is_refused(two: tuple[Pki, Pki]) -> None:
    _, b = two
    nameless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    nameless.check_hostname = False
    nameless.verify_mode = ssl.CERT_NONE
    with pytest.raises(ssl.SSLError, match=r"(?i)certificate"):
        handshake(nameless, peer_port(b), peer_host_name("Station_B"))


def test_leaf_made_for_clients_does_not_open_the_peer_port(two: tuple[Pki, Pki]) -> None:
    a, b = two
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    client.load_cert_chain(a.directory / "public.pem", a.directory / "public.key")
    with pytest.raises(ssl.SSLError, match=r"(?i)certificate|unable to get"):
        handshake(client, peer_port(b), "x.peer.station")


def test_client_that_trusts_only_the_root_verifies_the_public_leaf(two: tuple[Pki, Pki]) -> None:
    a, _ = two
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(a.directory / "public.pem", a.directory / "public.key")
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(a.directory / "ca.pem")
    handshake(client, server, "lb.example.com")


def test_fingerprint_is_of_the_der_form(authority: Authority) -> None:
    der = ssl.PEM_cert_to_DER_cert(authority.ca)
    assert fingerprint(authority.ca) == hashlib.sha256(der).digest()
