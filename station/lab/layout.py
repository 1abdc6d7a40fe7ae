"""Who is where in the lab: addresses, directories and configuration texts. Pure."""

from dataclasses import dataclass
from pathlib import Path

PROXY_PORT, HTTP_PORT, HTTPS_PORT, PEER_PORT = 16080, 17080, 17443, 17946
STATIONS_MAX = 9


@dataclass(frozen=True, slots=True)
class LabStation:
    """One station of the lab."""

    name: str
    host: str
    root: Path
    storage: Path

    @property
    def config(self) -> Path:
        """Its station.toml."""
        return self.root / "station.toml"

    @property
    def socket(self) -> Path:
        """Its admin socket."""
        return self.root / "admin.sock"

    @property
    def state(self) -> Path:
        """Its state directory."""
        return self.root / "state"

    @property
    def log(self) -> Path:
        """What its processes said."""
        return self.root / "station.log"


@dataclass(frozen=True, slots=True)
class Lab:
    """All of it. `network`: the first three numbers of a loopback network."""

    root: Path
    network: str
    stations: tuple[LabStation, ...]

    @property
    def balancer(self) -> str:
        """The balancer's address, which is also the group's hostname: no name service is needed."""
        return f"{self.network}.10"

    @property
    def balancer_config(self) -> Path:
        """Its lbproxy.toml."""
        return self.root / "lbproxy.toml"

    @property
    def description(self) -> Path:
        """lab.json: where everything is, for programs."""
        return self.root / "lab.json"

    @property
    def ca(self) -> Path:
        """The group's CA certificate, for clients."""
        return self.root / "ca.pem"


def plan_lab(root: Path, count: int, network: str, *, shared: bool) -> Lab:
    """A lab of `count` stations under `root`. Raises ValueError for a number that cannot be had."""
    if not 1 <= count <= STATIONS_MAX:
        raise ValueError(f"--stations {count}: expected 1 to {STATIONS_MAX}")
    stations = []
    for index in range(count):
        name = f"Station{chr(ord('A') + index)}"
        home = root / name
        storage = root / "mirror" if shared else home / "mirror"
        stations.append(LabStation(name, f"{network}.{11 + index}", home, storage))
    return Lab(root, network, tuple(stations))


def station_toml(lab: Lab, station: LabStation) -> str:
    """The configuration of one station."""
    return f"""\
name = "{station.name}"
compartment = "lab"
hostname = "{lab.balancer}"
description = "a station of the lab"
state_directory = "{station.state}"
address = "{station.host}"
listen = "{station.host}"

[proxy]
hosts = ["127.0.0.0/8"]
port = {PROXY_PORT}

[mirror]
directory = "{station.storage}"
port = {HTTP_PORT}
sslport = {HTTPS_PORT}

[peer]
port = {PEER_PORT}

[admin]
socket = "{station.socket}"
"""


def balancer_toml(lab: Lab) -> str:
    """The configuration of the bundled balancer."""
    ports = {"proxy": PROXY_PORT, "http": HTTP_PORT, "https": HTTPS_PORT}
    front_ends = "\n".join(
        f'[frontend.{name}]\nlisten = "{lab.balancer}:{port}"\n' for name, port in ports.items()
    )
    backends = "\n".join(
        f'[[backend]]\nname = "{station.name}"\naddress = "{station.host}"\n'
        for station in lab.stations
    )
    return f"{front_ends}\n{backends}"
