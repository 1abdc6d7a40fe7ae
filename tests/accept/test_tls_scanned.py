"""Both TLS ports of a real station judged by testssl.sh: nothing worse than low, but what is explained."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.one_station import OneStation

ADDRESS = "127.56.3.11"
SCAN_S = 200.0
WORSE_THAN_LOW = {"MEDIUM", "HIGH", "CRITICAL", "FATAL"}
PORTS = {"https": 17443, "peers": 17946}

# What it finds on each port, and why that is as it should be.
CA = "the group's own CA revokes nothing: a member that is removed is not known any more, and keys are not shared"
EXPLAINED = {
    "https": {
        "cipher_order": "Mozilla's profile leaves the choice to the client, for all that is offered is good",
        "cert_revocation": CA,
    },
    "peers": {
        "cert_revocation": CA,
        "cert_trust": "the certificate is of the member, not of its address, and peers ask for that",
    },
}
# A scan that gave up half way has none of these.
ASKED = "SSLv2 SSLv3 TLS1 TLS1_1 TLS1_2 TLS1_3 secure_renego secure_client_renego CRIME_TLS heartbleed LUCKY13 RC4"

pytestmark = [
    pytest.mark.accept,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not shutil.which("testssl"), reason="testssl.sh"),
]


@pytest.fixture(scope="module")
def station() -> Iterator[OneStation]:
    with OneStation(ADDRESS) as running:
        yield running.start()


@pytest.mark.parametrize("port", PORTS)
def test_a_scan_finds_nothing_worse_than_low(
    station: OneStation, tmp_path: Path, port: str
) -> None:
    report = tmp_path / "report.json"
    done = subprocess.run(
        ["testssl", "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none",
         "--add-ca", str(station.root / "state/pki/ca.pem"), "--jsonfile", str(report),
         "--protocols", "--standard", "--pfs", "--server-defaults", "--server-preference", "--vulnerable",
         f"{ADDRESS}:{PORTS[port]}"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SCAN_S, check=False,
    )  # fmt: skip
    found = {
        each["id"]: (each["severity"], each["finding"]) for each in json.loads(report.read_text())
    }
    bad = {name: said for name, said in found.items() if said[0] in WORSE_THAN_LOW}
    print(f"{port}: {len(found)} findings; worse than low, and explained: {bad}")
    assert set(ASKED.split()) <= set(found), done.stdout
    assert not set(bad) - set(EXPLAINED[port]), done.stdout
    assert {found[name][1] for name in ("SSLv2", "SSLv3", "TLS1", "TLS1_1")} == {"not offered"}
    assert set(found["PFS_ECDHE_curves"][1].split()) == {"X25519", "prime256v1", "secp384r1"}
