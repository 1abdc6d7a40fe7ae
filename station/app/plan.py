"""From a resolved configuration to sockets and children: what one station consists of."""

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from station.app.child import ChildSpec
from station.app.listeners import listen_tcp, listen_unix

FILES_WORKERS = 2
PROXY_WORKERS = 1

# Sockets between our own processes: the service's user only. The admin socket: its group too.
PRIVATE = 0o600
ADMIN = 0o660


@dataclass(frozen=True, slots=True)
class Sockets:
    """Every listening socket of the station, by what it is for."""

    http: tuple[socket.socket, ...]
    https: tuple[socket.socket, ...]
    proxy: tuple[socket.socket, ...]
    peers: socket.socket
    files: socket.socket  # unix: from our proxy and peers workers
    feed: socket.socket
    relay: socket.socket
    admin: socket.socket
    page: socket.socket | None


def run_directory(config: dict[str, Any]) -> Path:
    """Where the sockets between our own processes lie."""
    return Path(config["state_directory"]) / "run"


def open_sockets(config: dict[str, Any]) -> Sockets:
    """Open all. Raises ListenError at the first that cannot be had."""
    address, run = config["listen"], run_directory(config)
    run.mkdir(parents=True, exist_ok=True, mode=0o700)
    page = config["admin"]["listen"]
    return Sockets(
        http=tuple(listen_tcp(address, config["mirror"]["port"]) for _ in range(FILES_WORKERS)),
        https=tuple(listen_tcp(address, config["mirror"]["sslport"]) for _ in range(FILES_WORKERS)),
        proxy=tuple(listen_tcp(address, config["proxy"]["port"]) for _ in range(_proxies(config))),
        peers=listen_tcp(address, config["peer"]["port"]),
        files=listen_unix(run / "files.sock", PRIVATE),
        feed=listen_unix(run / "feed.sock", PRIVATE),
        relay=listen_unix(run / "http.sock", PRIVATE),
        admin=listen_unix(Path(config["admin"]["socket"]), ADMIN),
        page=listen_tcp(*_host_port(page)) if page else None,
    )


def control_spec(config: dict[str, Any], sockets: Sockets) -> ChildSpec:
    """The control process."""
    descriptors = {
        "feed": sockets.feed.fileno(),
        "relay": sockets.relay.fileno(),
        "admin": sockets.admin.fileno(),
    }
    if sockets.page:
        descriptors["page"] = sockets.page.fileno()
    return ChildSpec(
        "control",
        "station.control.main",
        {"config": config, "descriptors": descriptors},
        tuple(descriptors.values()),
    )


def worker_specs(config: dict[str, Any], sockets: Sockets) -> list[ChildSpec]:
    """The data plane."""
    specs = [_files(config, sockets, index) for index in range(FILES_WORKERS)]
    specs += [_proxy(config, sockets, index) for index in range(_proxies(config))]
    specs.append(_peers(config, sockets))
    return specs


def _proxies(config: dict[str, Any]) -> int:
    return PROXY_WORKERS if config["proxy"]["enabled"] else 0


def _files(config: dict[str, Any], sockets: Sockets, index: int) -> ChildSpec:
    run, state = run_directory(config), Path(config["state_directory"])
    mirror = config["mirror"]
    descriptors = {
        "http": sockets.http[index].fileno(),
        "https": sockets.https[index].fileno(),
        "unix": sockets.files.fileno(),
    }
    settings = {
        "name": f"files-{index}",
        "storage": mirror["directory"],
        "manifests": str(state / "manifests"),
        "feed": str(run / "feed.sock"),
        "relay": str(run / "http.sock"),
        "listeners": [{"fd": fd, "kind": kind} for kind, fd in descriptors.items()],
        "tls": {
            "cert": mirror["sslcert"] or str(state / "pki" / "public.pem"),
            "key": mirror["sslkey"] or str(state / "pki" / "public.key"),
        },
        "balancers": config["balancers"],
        "limits": config.get("limits", {}),
        "tcp_congestion": config.get("tcp_congestion", ""),
    }
    return ChildSpec(
        f"files-{index}", "station.serve.files_worker", settings, tuple(descriptors.values())
    )


def _proxy(config: dict[str, Any], sockets: Sockets, index: int) -> ChildSpec:
    run, proxy = run_directory(config), config["proxy"]
    settings = {
        "name": f"proxy-{index}",
        "feed": str(run / "feed.sock"),
        "files": str(run / "files.sock"),
        "listeners": [{"fd": sockets.proxy[index].fileno(), "kind": "proxy"}],
        "balancers": config["balancers"],
        "hosts": proxy["hosts"],
        "destinations": proxy["destinations"],
        "forward": proxy["forward"],
        "ports": {
            "proxy": proxy["port"],
            "http": config["mirror"]["port"],
            "https": config["mirror"]["sslport"],
        },
        "limits": config.get("limits", {}),
    }
    fd = sockets.proxy[index].fileno()
    return ChildSpec(f"proxy-{index}", "station.serve.proxy_worker", settings, (fd,))


def _peers(config: dict[str, Any], sockets: Sockets) -> ChildSpec:
    run, pki = run_directory(config), Path(config["state_directory"]) / "pki"
    settings = {
        "name": "peers",
        "listeners": [{"fd": sockets.peers.fileno(), "kind": "peers"}],
        "files": str(run / "files.sock"),
        "control": str(run / "http.sock"),
        "tls": {
            "cert": str(pki / "peer.pem"),
            "key": str(pki / "peer.key"),
            "ca": str(pki / "peers-ca.pem"),
        },
        "limits": config.get("limits", {}),
    }
    return ChildSpec("peers", "station.serve.peers_worker", settings, (sockets.peers.fileno(),))


def _host_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
