"""From a resolved configuration to sockets and children: what one station consists of."""

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from station import serve
from station.app.child import ChildSpec
from station.app.listeners import listen_tcp, listen_unix

CONTROL = "control"
FILES_WORKERS = 2
PROXY_WORKERS = 1

# What a reload cannot change: whose keys these are, and the sockets, which live as long as the supervisor.
_FIXED = (
    "name state_directory listen mirror.port mirror.more_ports mirror.sslport mirror.more_sslports proxy.port "
    "proxy.more_ports proxy.enabled peer.port admin.socket admin.listen"
).split()

# Which groups the workers that end TLS offer; an operator's own OPENSSL_CONF goes before ours.
TLS_ENVIRONMENT = {"OPENSSL_CONF": str(Path(serve.__file__).with_name("openssl.cnf"))}

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
    more: tuple[
        tuple[str, tuple[socket.socket, ...]], ...
    ] = ()  # of a further port each: kind, one per worker


def run_directory(config: dict[str, Any]) -> Path:
    """Where the sockets between our own processes lie."""
    return Path(config["state_directory"]) / "run"


def open_sockets(config: dict[str, Any]) -> Sockets:
    """Open all. Raises ListenError at the first that cannot be had."""
    address, run = config["listen"], run_directory(config)
    run.mkdir(parents=True, exist_ok=True, mode=0o700)
    page = config["admin"]["listen"]
    return Sockets(
        http=listen_tcp(address, config["mirror"]["port"], FILES_WORKERS),
        https=listen_tcp(address, config["mirror"]["sslport"], FILES_WORKERS),
        proxy=listen_tcp(address, config["proxy"]["port"], _proxies(config)),
        peers=listen_tcp(address, config["peer"]["port"])[0],
        files=listen_unix(run / "files.sock", PRIVATE),
        feed=listen_unix(run / "feed.sock", PRIVATE),
        relay=listen_unix(run / "http.sock", PRIVATE),
        admin=listen_unix(Path(config["admin"]["socket"]), ADMIN),
        page=listen_tcp(*_host_port(page))[0] if page else None,
        more=tuple(
            (kind, listen_tcp(address, port, count))
            for kind, count, ports in _more_ports(config)
            for port in ports
        ),
    )


def _more_ports(config: dict[str, Any]) -> list[tuple[str, int, list[int]]]:
    """By kind: how many workers listen, and on which further ports."""
    mirror, proxy = config["mirror"], config["proxy"]
    return [
        ("http", FILES_WORKERS, mirror["more_ports"]),
        ("https", FILES_WORKERS, mirror["more_sslports"]),
        ("proxy", _proxies(config), proxy["more_ports"] if proxy["enabled"] else []),
    ]


def _further(sockets: Sockets, index: int, *kinds: str) -> list[tuple[str, int]]:
    """Kind and descriptor of the further ports of worker `index`."""
    return [(kind, each[index].fileno()) for kind, each in sockets.more if kind in kinds]


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
        CONTROL,
        "station.control.main",
        {"config": config, "descriptors": descriptors},
        tuple(descriptors.values()),
    )


def worker_specs(config: dict[str, Any], sockets: Sockets) -> list[ChildSpec]:
    """The data plane."""
    specs = [_files(config, sockets, index) for index in range(FILES_WORKERS)]
    # A proxy that a reload enables has no socket before the next start.
    specs += [
        _proxy(config, sockets, index) for index in range(min(_proxies(config), len(sockets.proxy)))
    ]
    specs.append(_peers(config, sockets))
    return specs


def needs_restart(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """The settings that differ and that only a new start can change."""
    return [key for key in _FIXED if _setting(old, key) != _setting(new, key)]


def _setting(config: dict[str, Any], key: str) -> Any:
    section, _, name = key.rpartition(".")
    return (config[section] if section else config)[name]


def _proxies(config: dict[str, Any]) -> int:
    return PROXY_WORKERS if config["proxy"]["enabled"] else 0


def _files(config: dict[str, Any], sockets: Sockets, index: int) -> ChildSpec:
    run, state = run_directory(config), Path(config["state_directory"])
    mirror = config["mirror"]
    listeners = [
        ("http", sockets.http[index].fileno()),
        ("https", sockets.https[index].fileno()),
        ("unix", sockets.files.fileno()),
        *_further(sockets, index, "http", "https"),
    ]
    settings = {
        "name": f"files-{index}",
        "storage": mirror["directory"],
        "manifests": str(state / "manifests"),
        "feed": str(run / "feed.sock"),
        "relay": str(run / "http.sock"),
        "listeners": [{"fd": fd, "kind": kind} for kind, fd in listeners],
        "tls": {
            "cert": mirror["sslcert"] or str(state / "pki" / "public.pem"),
            "key": mirror["sslkey"] or str(state / "pki" / "public.key"),
        },
        "balancers": config["balancers"],
        "access_log": _access_log(mirror),
        "limits": config.get("limits", {}),
        "tcp_congestion": config.get("tcp_congestion", ""),
    }
    return ChildSpec(
        f"files-{index}",
        "station.serve.files_worker",
        settings,
        tuple(fd for _, fd in listeners),
        TLS_ENVIRONMENT,
    )


def _access_log(mirror: dict[str, Any]) -> dict[str, str]:
    """What the files workers log; nothing by default."""
    form = mirror["access_log"]
    return {"format": form, "path": mirror["access_log_file"]} if form else {}


def _proxy(config: dict[str, Any], sockets: Sockets, index: int) -> ChildSpec:
    run, proxy = run_directory(config), config["proxy"]
    listeners = [("proxy", sockets.proxy[index].fileno()), *_further(sockets, index, "proxy")]
    settings = {
        "name": f"proxy-{index}",
        "feed": str(run / "feed.sock"),
        "files": str(run / "files.sock"),
        "listeners": [{"fd": fd, "kind": kind} for kind, fd in listeners],
        "balancers": config["balancers"],
        "hosts": proxy["hosts"],
        "destinations": proxy["destinations"],
        "forward": proxy["forward"],
        # Served too, while clients move from one port to another; whichever of them is the main one then.
        "further": {
            "http": [config["mirror"]["port"], *config["mirror"]["more_ports"]],
            "https": [config["mirror"]["sslport"], *config["mirror"]["more_sslports"]],
        },
        "limits": config.get("limits", {}),
    }
    descriptors = tuple(fd for _, fd in listeners)
    return ChildSpec(f"proxy-{index}", "station.serve.proxy_worker", settings, descriptors)


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
    fd = sockets.peers.fileno()
    return ChildSpec("peers", "station.serve.peers_worker", settings, (fd,), TLS_ENVIRONMENT)


def _host_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
