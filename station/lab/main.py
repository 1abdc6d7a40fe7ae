"""`station lab`: three stations behind a balancer on one machine, as anybody would build them: by the commands.

Nothing needs root. Everything listens on loopback; all state lies in one directory.
"""

import json
import shutil
import signal
import tempfile
import time
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.live import Live

from station.lab.layout import (
    HTTP_PORT,
    HTTPS_PORT,
    PROXY_PORT,
    Lab,
    LabStation,
    balancer_toml,
    plan_lab,
    station_toml,
)
from station.lab.processes import (
    LabError,
    Processes,
    is_usable,
    run_command,
    start_balancer,
    start_station,
    wait_for,
)
from station.lab.table import instructions, stations_table

START_S = 60.0
SYNC_S = 6 * 3600.0  # --upstream may name a whole distribution
REFRESH_S = 0.5
PROFILE = "lab"


def run_lab(
    *,
    stations: int = 3,
    directory: Path | None = None,
    upstream: str | None = None,
    shared: bool = False,
    network: str = "127.0.0",
) -> int:
    """Build the lab, show it until Ctrl-C, take it down. The exit code: 0, or 1 when it could not be built."""
    console = Console()
    processes = Processes()
    # Also where the shell that started us in the background has SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        root = directory or Path(tempfile.mkdtemp(prefix="station-lab-"))
        if not is_usable(root):
            raise LabError(f"{root} is not empty; name a new directory with --dir")
        lab = plan_lab(root.absolute(), stations, network, shared=shared)
        with as_file(files("station.lab.demo") / "repository") as demo:
            _build(lab, processes, upstream, demo, console)
            _show(lab, processes, console)
    except KeyboardInterrupt:
        console.print("stopping")
    except (LabError, ValueError) as error:
        console.print(f"[red]{error}[/red]", highlight=False)
        return 1
    finally:
        processes.close()
    return 0


def _build(
    lab: Lab, processes: Processes, upstream: str | None, demo: Path, console: Console
) -> None:
    console.print(f"building a lab of {len(lab.stations)} stations in {lab.root}")
    lab.root.mkdir(parents=True, exist_ok=True)
    upstream_pid, url = None, upstream
    if url is None:
        process, url = processes.start_upstream(demo, lab.balancer)
        upstream_pid = process.pid
    pids = {}
    for station in lab.stations:
        station.root.mkdir()
        station.config.write_text(station_toml(lab, station))
    first = lab.stations[0]
    for station in lab.stations:
        if station is first:
            run_command("group", "create", "--config", str(station.config))
        else:
            token = run_command("group", "token", "--socket", str(first.socket))
            run_command("join", "-", first.host, "--config", str(station.config), stdin=token)
        pids[station.name] = start_station(processes, station).pid
        wait_for(
            f"answer from {station.name}",
            partial(_is_ready, station),
            processes,
            lab.root,
            START_S,
        )
    lab.balancer_config.write_text(balancer_toml(lab))
    balancer_pid = start_balancer(processes, lab).pid
    shutil.copy(first.state / "pki" / "ca.pem", lab.ca)
    source = _create_records(lab, url, demo if upstream is None else None)
    wait_for("SYNCED on all stations", lambda: _is_synced(lab), processes, lab.root, SYNC_S)
    wait_for("ready balancer", lambda: _answers(lab), processes, lab.root, START_S)
    description = {
        "hostname": lab.balancer,
        "ca": str(lab.ca),
        "balancer": {
            "host": lab.balancer,
            "proxy": PROXY_PORT,
            "http": HTTP_PORT,
            "https": HTTPS_PORT,
            "pid": balancer_pid,
        },
        "upstream": {"url": url, "pid": upstream_pid},
        "sources": [source],
        "stations": [
            {
                "name": s.name,
                "host": s.host,
                "pid": pids[s.name],
                "config": str(s.config),
                "socket": str(s.socket),
                "storage": str(s.storage),
            }
            for s in lab.stations
        ],
    }
    beside = lab.description.with_suffix(".new")
    beside.write_text(json.dumps(description, indent=1) + "\n")
    beside.rename(lab.description)
    text = instructions(lab, source, PROFILE, pids)
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _create_records(lab: Lab, url: str, demo: Path | None) -> str:
    socket = ["--socket", str(lab.stations[0].socket)]
    source = "demo" if demo else "upstream"
    key = ["--gpgkey", str(demo.parent / "RPM-GPG-KEY-demo")] if demo else []
    run_command("source", "create", source, "--url", url, *key, *socket)
    station = lab.stations[0].name
    run_command("profile", "create", PROFILE, "--station", station, "--source", source, *socket)
    return source


def _show(lab: Lab, processes: Processes, console: Console) -> None:
    if not console.is_terminal:
        while True:
            time.sleep(REFRESH_S)
    with Live(console=console, auto_refresh=False) as live:
        while True:
            rows = {s.name: (ask(s, "/status"), ask(s, "/mirrors")) for s in lab.stations}
            live.update(stations_table(rows, processes.dead()), refresh=True)
            time.sleep(REFRESH_S)


def ask(station: LabStation, path: str) -> Any:
    """What the station answers on its admin socket; None when it does not."""
    transport = httpx.HTTPTransport(uds=str(station.socket))
    try:
        with httpx.Client(transport=transport, timeout=5.0, trust_env=False) as client:
            answer = client.get(f"http://station{path}")
            return answer.json() if answer.is_success else None
    except (httpx.HTTPError, ValueError):
        return None


def _is_ready(station: LabStation) -> bool:
    status = ask(station, "/status") if station.socket.exists() else None
    return bool(status and status["ready"])


def _is_synced(lab: Lab) -> bool:
    answers = [ask(station, "/mirrors") for station in lab.stations]
    revisions = {row["revision"] for rows in answers for row in rows or []}
    states = {row["state"] for rows in answers for row in rows or []}
    return all(answers) and len(revisions) == 1 and states == {"SYNCED"}


def _answers(lab: Lab) -> bool:
    try:
        url = f"http://{lab.balancer}:{HTTP_PORT}/health/ready"
        return httpx.get(url, timeout=2.0, trust_env=False).is_success
    except httpx.HTTPError:
        return False
