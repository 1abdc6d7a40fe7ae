"""What a certificate says of itself."""

import pytest

from station.peering.certificate_facts import certificate_facts
from station.peering.keys import KeysInvalid, create_authority, issue_public_leaf

NOW = 1_800_000_000.0
AUTHORITY = create_authority("g", NOW)


def test_chain_is_told_one_by_one_with_names_and_dates_and_no_key() -> None:
    leaf = issue_public_leaf(AUTHORITY, ["lb.example.com", "192.0.2.1"], NOW)
    facts = certificate_facts(leaf.key + leaf.chain)
    assert facts[0]["good_for"] == ["lb.example.com", "192.0.2.1"]
    assert facts[0]["begins"] < facts[0]["ends"]
    assert facts[1]["subject"] == facts[0]["issuer"]
    assert "PRIVATE" not in str(facts)
    assert leaf.key.splitlines()[1] not in str(facts)


@pytest.mark.parametrize("pem", ["", "nonsense", AUTHORITY.ca[:200], AUTHORITY.ca_key])
def test_what_is_no_certificate_is_refused(pem: str) -> None:
    with pytest.raises(KeysInvalid):
        certificate_facts(pem)
