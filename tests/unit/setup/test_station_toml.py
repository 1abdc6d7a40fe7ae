"""A configuration written from records gives these records again."""

from hypothesis import given
from hypothesis import strategies as st

from station.config.parse import parse_config
from station.model.records import GroupRecord, Ports, ServedPorts, StationRecord
from station.setup.station_toml import render_station_toml

GROUP = GroupRecord(
    id="g", compartment="dc 1", hostname="lb.example.com", ports=Ports(proxy=1, http=2, https=3)
)
LINES = st.text(
    st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=["Cs"]),
    max_size=50,
)


def test_every_setting_of_the_record_is_in_the_file() -> None:
    record = StationRecord(
        name="A",
        address="192.0.2.11",
        peer_port=4,
        serves=ServedPorts(proxy=(1,), http=(2, 18080), https=(3, 18443)),
        description="north",
        storage_path="/srv/mirror",
        proxy_enabled=False,
        proxy_hosts=("10.0.0.0/8", "fd00::/8"),
        proxy_forward="http://outer.example.com:3128",
        proxy_destinations=("example.com",),
        balancers=("192.0.2.10/32",),
        is_auto_config_enabled=True,
        sslcert="/etc/cert.pem",
        sslkey="/etc/key.pem",
        is_sslverify_enabled=False,
    )
    config = parse_config(render_station_toml(GROUP, record))
    assert config.compartment == "dc 1"
    assert config.hostname == "lb.example.com"
    assert (config.proxy.port, config.mirror.port, config.mirror.sslport) == (1, 2, 3)
    mirror = config.mirror
    assert (mirror.more_ports, mirror.more_sslports) == ((18080,), (18443,))
    assert config.proxy.more_ports == ()
    assert (config.name, config.address, config.peer.port) == ("A", "192.0.2.11", 4)
    assert (config.description, config.mirror.directory) == ("north", "/srv/mirror")
    assert (config.mirror.sslcert, config.mirror.sslkey) == ("/etc/cert.pem", "/etc/key.pem")
    assert config.proxy.hosts == ("10.0.0.0/8", "fd00::/8")
    assert config.proxy.forward == "http://outer.example.com:3128"
    assert config.proxy.destinations == ("example.com",)
    assert config.balancers == ("192.0.2.10/32",)
    assert config.is_auto_config_enabled
    assert not config.proxy.enabled
    assert not config.mirror.is_sslverify_enabled


@given(LINES)
def test_any_line_of_text_survives(text: str) -> None:
    record = StationRecord(name="A", address="a", description=text, storage_path="/srv/mirror")
    assert parse_config(render_station_toml(GROUP, record)).description == text
