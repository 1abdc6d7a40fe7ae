"""The peers as their packages ship them but without logs, and our balancer: each on one core, with the same files."""

import contextlib
import os
import pwd
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.measuring import CLIENT_CORE, SERVER_CORE

FILES = {"8k": 8 * 1024, "1k": 1024, "1m": 1024 * 1024, "100m": 100 * 1024 * 1024}
_STARTED_S = 15.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server under measurement: the processes that do the work, its ports, where its files are."""

    pids: tuple[int, ...]
    http: int
    https: int = 0
    base: str = "/"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def running(cores: str, command: list[str], port: int, **options: object) -> Iterator[int]:
    """A process on these cores, once it listens on `port`; its pid. Killed at the end."""
    process = subprocess.Popen(["taskset", "-c", cores, *command], **options)  # type: ignore[call-overload]
    try:
        end = time.monotonic() + _STARTED_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert time.monotonic() < end and process.poll() is None, command
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2)
        process.kill()
        process.wait()


@contextlib.contextmanager
def nginx(
    directory: Path,
    *,
    cores: str = SERVER_CORE,
    workers: int = 1,
    pair: tuple[Path, Path] | None = None,
    keepalive_requests: int = 1000,
) -> Iterator[Server]:
    """nginx with the files; `keepalive_requests` as shipped, unless it only stands behind what is measured."""
    directory.mkdir()
    ports = free_port(), free_port()
    root = directory / "root"
    (root / "health").mkdir(parents=True)
    (root / "health" / "ready").write_text("ready\n")
    for name, size in FILES.items():
        (root / name).write_bytes(os.urandom(1024) * (size // 1024))
    tls = ""
    if pair:
        tls = (
            f"listen 127.0.0.1:{ports[1]} ssl; ssl_certificate {pair[0]}; ssl_certificate_key {pair[1]};"
            " ssl_protocols TLSv1.2 TLSv1.3; ssl_prefer_server_ciphers on;"
        )
    user = "user root;" if os.getuid() == 0 else ""
    config = directory / "nginx.conf"
    config.write_text(f"""
        {user} worker_processes {workers}; pid {directory}/pid; error_log {directory}/error.log crit; daemon off;
        worker_rlimit_nofile 20000; events {{ worker_connections 15000; }}
        http {{
            sendfile on; tcp_nopush on; access_log off; default_type application/octet-stream;
            keepalive_requests {keepalive_requests};
            client_body_temp_path {directory}/t1; proxy_temp_path {directory}/t2; fastcgi_temp_path {directory}/t3;
            uwsgi_temp_path {directory}/t4; scgi_temp_path {directory}/t5;
            server {{ listen 127.0.0.1:{ports[0]} backlog=4096; {tls} root {root}; }}
        }}
    """)
    command = ["nginx", "-p", str(directory), "-c", str(config)]
    with running(cores, command, ports[0], stderr=subprocess.DEVNULL) as master:
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        yield Server(tuple(map(int, children)), *ports)


@contextlib.contextmanager
def origin(directory: Path) -> Iterator[Server]:
    """The nginx behind balancers and proxies, on the client's core."""
    with nginx(directory, cores=CLIENT_CORE, keepalive_requests=100_000_000) as server:
        yield server


@contextlib.contextmanager
def haproxy(directory: Path, backend: int) -> Iterator[Server]:
    """haproxy as a TCP balancer, with splice, as shipped but for the number of its threads."""
    directory.mkdir()
    port = free_port()
    config = directory / "haproxy.cfg"
    config.write_text(
        "global\n maxconn 7000\n nbthread 1\n"
        "defaults\n mode tcp\n option splice-auto\n timeout connect 5s\n timeout client 300s\n timeout server 300s\n"
        f"listen http\n bind 127.0.0.1:{port}\n server nginx 127.0.0.1:{backend} check\n"
    )
    command = ["haproxy", "-db", "-f", str(config)]
    with running(SERVER_CORE, command, port, stderr=subprocess.DEVNULL) as pid:
        yield Server((pid,), port)


@contextlib.contextmanager
def lbproxy(directory: Path, backend: int) -> Iterator[Server]:
    """Our balancer, once its backend is up."""
    directory.mkdir()
    port = free_port()
    config = directory / "lbproxy.toml"
    config.write_text(
        f'[frontend.http]\nlisten = "127.0.0.1:{port}"\n'
        f'[[backend]]\nname = "nginx"\naddress = "127.0.0.1"\nports = {{ http = {backend} }}\n'
    )
    command = [sys.executable, "-m", "lbproxy.cli", "--config", str(config)]
    with running(SERVER_CORE, command, port, stderr=subprocess.DEVNULL) as pid:
        time.sleep(1.5)  # two checks
        yield Server((pid,), port)


@contextlib.contextmanager
def squid(directory: Path) -> Iterator[Server]:
    """squid without cache and log, open to all."""
    directory.mkdir()
    port = free_port()
    # squid refuses to stay root; the user that its package makes must reach the directory.
    user = "proxy" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    directory.chmod(0o777)
    config = directory / "squid.conf"
    config.write_text(
        f"http_port 127.0.0.1:{port}\nhttp_access allow all\ncache deny all\naccess_log none\n"
        f"cache_log /dev/null\ncache_store_log none\npid_filename none\n"
        f"coredump_dir {directory}\ncache_effective_user {user}\nshutdown_lifetime 0 seconds\n"
        "max_filedescriptors 16384\npinger_enable off\n"
    )
    command = ["squid", "-N", "-n", f"bench{port}", "-f", str(config)]
    try:
        with running(SERVER_CORE, command, port, stderr=subprocess.DEVNULL) as pid:
            yield Server((pid,), port)
    finally:
        for left in Path("/dev/shm").glob(f"bench{port}-*"):
            left.unlink()
