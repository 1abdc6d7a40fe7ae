"""A certificate of the operator's own: what is said of one that does not fit, and what is served meanwhile."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.lab import wait_until
from tests.integration.load import log_lines
from tests.integration.one_station import OneStation
from tests.integration.test_files_limits import certificate

ADDRESS = "127.55.1.1"


@pytest.fixture
def station(tmp_path: Path) -> Iterator[OneStation]:
    """One whose certificate is for somebody else."""
    cert, key = certificate(tmp_path, "somebody.example.com")
    with OneStation(ADDRESS) as station:
        text = station.config.read_text()
        own = f'[mirror]\nsslcert = "{cert}"\nsslkey = "{key}"\n'
        station.config.write_text(text.replace("[mirror]\n", own))
        yield station.start()


def served(port: int = 17443) -> bytes:
    """The certificate that a client is shown."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((ADDRESS, port), timeout=5) as raw,
        context.wrap_socket(raw) as sock,
    ):
        return sock.getpeercert(binary_form=True) or b""


def test_a_certificate_without_the_balancers_name_is_told_and_a_bad_pair_keeps_the_one_before(
    station: OneStation, tmp_path: Path
) -> None:
    warning = f"not for {ADDRESS}: https clients of the balancer will refuse it"
    assert warning in station.log.read_text()  # at the start
    assert any(warning in text for text in station.admin.ask("/status")["warnings"])
    before = served()
    cert, key = certificate(tmp_path, "another.example.com")
    (tmp_path / "somebody.example.com.pem").write_bytes(cert.read_bytes())  # its key is not there
    wait_until("both workers say so", lambda: alarm(station).count("files-") == 2, 10.0)
    assert log_lines(station.log, "tls.reload_failed") >= 2
    assert served() == before
    assert station.answers("/health/ready")
    (tmp_path / "somebody.example.com.key").write_bytes(key.read_bytes())
    wait_until("the alarm is over", lambda: not alarm(station), 10.0)
    assert served() != before


def alarm(station: OneStation) -> str:
    """What its status says of TLS."""
    return " ".join(text for text in station.admin.ask("/status")["alarms"] if "tls" in text)
