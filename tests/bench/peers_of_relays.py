"""What the benches of the balancer and the proxy share: an nginx behind, processes on one core, their CPU time, wrk."""

import contextlib
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

RELAY_CORE, OTHERS_CORE = "0", "1"
SIZES = {"8k": 8 * 1024, "1k": 1024, "1m": 1024 * 1024, "100m": 100 * 1024 * 1024}


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def cpu_s(pid: int) -> float:
    """User and system time of a process, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pss_kib(pid: int) -> int:
    """Memory of a process, shared pages counted in proportion."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)
    assert found is not None
    return int(found[1])


@contextlib.contextmanager
def pinned(core: str, command: list[str], *, port: int, **options: object) -> Iterator[int]:
    """A process on one core, once it listens on `port`; its pid."""
    process = subprocess.Popen(["taskset", "-c", core, *command], **options)  # type: ignore[call-overload]
    try:
        end = time.monotonic() + 15
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert time.monotonic() < end and process.poll() is None, command
            time.sleep(0.05)
        yield process.pid
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def nginx(directory: Path) -> Iterator[int]:
    """An nginx with files 8k, 1k, 1m and 100m, one process without a log; its port."""
    port = free_port()
    root = directory / "root"
    root.mkdir()
    for name, size in SIZES.items():
        (root / name).write_bytes(os.urandom(1024) * (size // 1024))
    (root / "health").mkdir()
    (root / "health" / "ready").write_text("ready\n")
    config = directory / "nginx.conf"
    config.write_text(
        f"daemon off; master_process off; pid {directory}/pid; error_log stderr crit;\n"
        "worker_rlimit_nofile 20000; events { worker_connections 15000; }\n"
        f"http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000;\n"
        f" client_body_temp_path {directory}/t1; proxy_temp_path {directory}/t2; fastcgi_temp_path {directory}/t3;\n"
        f" uwsgi_temp_path {directory}/t4; scgi_temp_path {directory}/t5;\n"
        f" server {{ listen 127.0.0.1:{port} backlog=4096; root {root}; }} }}\n"
    )
    command = ["nginx", "-p", str(directory), "-c", str(config)]
    with pinned(OTHERS_CORE, command, port=port, stderr=subprocess.DEVNULL):
        yield port


def wrk(url: str, *, connections: int, seconds: float, header: str = "") -> tuple[float, float]:
    """Requests per second, and MB per second, of one wrk thread."""
    command = ["taskset", "-c", OTHERS_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s"]
    command += ["-H", header] if header else []
    text = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])  # type: ignore[index]
    amount, unit = re.search(r"Transfer/sec:\s+([\d.]+)([KMG]?B)", text).groups()  # type: ignore[union-attr]
    return rate, float(amount) * {"B": 1e-6, "KB": 1.024e-3, "MB": 1.048576, "GB": 1073.741824}[
        unit
    ]
