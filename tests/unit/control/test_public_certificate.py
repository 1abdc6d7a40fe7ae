from pathlib import Path

from station.config.parse import parse_config
from station.config.schema import Config
from station.control.public_certificate import PublicCertificate
from station.peering.keys import create_authority, issue_public_leaf

NOW = 1_800_000_000.0


def config(state: Path) -> Config:
    text = f"""
name = "A"
compartment = "c"
hostname = "lb"
state_directory = "{state}"
[proxy]
hosts = ["10.0.0.0/8"]
[mirror]
directory = "/mnt"
"""
    return parse_config(text, lambda _: "")


def issue(state: Path, *names: str) -> None:
    (state / "pki").mkdir(exist_ok=True)
    leaf = issue_public_leaf(create_authority("g", NOW), names, NOW)
    (state / "pki" / "public.new").write_text(leaf.chain)
    (state / "pki" / "public.new").rename(state / "pki" / "public.pem")


def test_names_are_those_of_the_file_and_follow_its_renewal(tmp_path: Path) -> None:
    issue(tmp_path, "lb.example.com", "10.0.0.1")
    certificate = PublicCertificate(config(tmp_path))
    assert certificate.names() == ("lb.example.com", "10.0.0.1")
    issue(tmp_path, "other.example.com")
    assert certificate.names() == ("other.example.com",)


def test_a_file_that_is_not_there_or_no_certificate_is_told_as_none(tmp_path: Path) -> None:
    certificate = PublicCertificate(config(tmp_path))
    assert certificate.names() is None
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki" / "public.pem").write_text("nonsense")
    assert certificate.names() is None
