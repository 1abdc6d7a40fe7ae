"""The public port judged by sslyze: Mozilla's intermediate profile."""

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from sslyze.mozilla_tls_profile.tls_config_checker import (
    MozillaTlsConfiguration,
    ServerNotCompliantWithTlsConfiguration,
    TlsConfigurationEnum,
    check_server_against_tls_configuration,
)
from sslyze.scanner.models import ServerScanRequest, ServerScanResult
from sslyze.scanner.scanner import Scanner
from sslyze.server_setting import ServerNetworkLocation

from tests.integration.files_lab import FilesLab

# sslyze reads trust stores in which such a certificate is.
pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")

# What a throwaway certificate of a test cannot have: a chain to a public root, and the age of a year.
OF_THE_CERTIFICATE = ("certificate_path_validation", "maximum_certificate_lifespan", "certificate")


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerScanResult]:
    directory = tmp_path_factory.mktemp("tls")
    cert, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-keyout", str(key), "-out", str(cert), "-days", "90", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    with FilesLab(directory, tls=(cert, key)) as lab:
        lab.publish("demo", lab.storage.add("demo", {"repodata/repomd.xml": b"x"}))
        scanner = Scanner()
        place = ServerNetworkLocation(hostname="localhost", port=lab.https, ip_address="127.0.0.1")
        scanner.queue_scans([ServerScanRequest(server_location=place)])
        yield next(iter(scanner.get_results()))


def test_the_https_port_is_mozilla_intermediate(result: ServerScanResult) -> None:
    profile = MozillaTlsConfiguration.get(TlsConfigurationEnum.MOZILLA_INTERMEDIATE)
    issues: dict[str, str] = {}
    try:
        check_server_against_tls_configuration(result, profile)
    except ServerNotCompliantWithTlsConfiguration as error:
        issues = error.issues
    assert issues, "a certificate that no public root vouches for was taken for one"
    assert not {key: text for key, text in issues.items() if not key.startswith(OF_THE_CERTIFICATE)}


def test_three_curves_are_offered_and_no_other(result: ServerScanResult) -> None:
    scan: Any = result.scan_result
    offered = {curve.name for curve in scan.elliptic_curves.result.supported_curves}
    assert offered == {"X25519", "secp256r1", "secp384r1"}


def test_nothing_known_to_be_broken_is_offered(result: ServerScanResult) -> None:
    scan: Any = result.scan_result
    for old in ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"):
        suites = getattr(scan, f"{old}_cipher_suites").result
        assert not suites.accepted_cipher_suites, old
    assert not scan.heartbleed.result.is_vulnerable_to_heartbleed
    assert not scan.tls_compression.result.supports_compression
    assert not scan.session_renegotiation.result.is_vulnerable_to_client_renegotiation_dos
    assert scan.tls_1_3_cipher_suites.result.accepted_cipher_suites
