"""Reload, replacement, stop and sudden death of real stations, under constant load of short requests and downloads."""

import contextlib
import hashlib
import os
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.integration.certificates import Certificate
from tests.integration.lab import LabUnderTest, StationUnderTest, descendants, kill, wait_until
from tests.integration.load import Load, log_lines
from tests.integration.repositories import Repository, build_repository
from tests.integration.sockets import connect
from tests.integration.upstream import Upstream

pytestmark = [
    pytest.mark.skipif(
        not all(map(shutil.which, ("curl", "rpmbuild", "createrepo_c"))),
        reason="needs curl, rpmbuild and createrepo_c",
    ),
    pytest.mark.timeout(240),
]
NETWORK = "127.43.1"
SOURCE = "upstream"
PACKAGE_BYTES = 40_000_000  # more than the kernel takes for a slow reader: at most 32 MiB and 4 MiB
RATE = 5_000_000  # bytes a second: a download that is in the middle when something happens


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return build_repository(
        tmp_path_factory.mktemp("upstream") / "repository", packages=2, size=PACKAGE_BYTES
    )


@pytest.fixture(scope="module")
def lab(repository: Repository) -> Iterator[LabUnderTest]:
    with (
        Upstream(repository.root) as upstream,
        LabUnderTest(NETWORK, "--stations", "2", "--upstream", upstream.url) as running,
    ):
        running.wait_synced(SOURCE)
        yield running


def package(repository: Repository) -> tuple[str, str]:
    """The greatest package: its path in the repository, and its sha256."""
    found = max(repository.root.rglob("*.rpm"), key=lambda path: path.stat().st_size)
    digest = hashlib.sha256(found.read_bytes()).hexdigest()
    return found.relative_to(repository.root).as_posix(), digest


def urls(*bases: str) -> list[str]:
    """Short requests of every kind."""
    paths = (f"/repo/{SOURCE}/repodata/repomd.xml", f"/mirrorlist/{SOURCE}/lab", "/health/live")
    return [base + path for base in bases for path in paths]


def own(station: StationUnderTest) -> tuple[str, str]:
    """Its own http and https URLs, past the balancer."""
    return f"http://{station.host}:17080", f"https://{station.host}:17443"


def download(url: str, target: Path, *options: str) -> "subprocess.Popen[bytes]":
    command = ["curl", "-sS", "-f", "-o", str(target), *options, url]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def workers(station: StationUnderTest, kind: str) -> list[int]:
    """Pids of the children of the supervisor that run a module."""
    found = []
    for pid in descendants(station.pid):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:  # gone meanwhile
            continue
        if f"station.serve.{kind}".encode() in words:
            found.append(pid)
    return found


def log_of(station: StationUnderTest) -> Path:
    return station.config.parent / "station.log"


def reload(station: StationUnderTest, deadline_s: float = 40.0) -> float:
    """SIGHUP; the seconds until every successor was at work."""
    before = log_lines(log_of(station), "station.reloaded")
    os.kill(station.pid, signal.SIGHUP)
    return wait_for_line(station, "station.reloaded", before, deadline_s)


def wait_for_line(
    station: StationUnderTest, event: str, before: int, deadline_s: float = 40.0
) -> float:
    log = log_of(station)
    return wait_until(event, lambda: log_lines(log, event) > before, deadline_s)


def test_reload_under_load_fails_no_request_and_downloads_go_on(
    lab: LabUnderTest, repository: Repository, tmp_path: Path
) -> None:
    station = lab.stations[0]
    plain, secure = own(station)
    path, digest = package(repository)
    old = workers(station, "files_worker")
    with Load(urls(plain, secure, lab.http, lab.https), ca=lab.ca, threads=6) as load:
        running = [
            download(
                f"{base}/repo/{SOURCE}/{path}", tmp_path / f"{index}", "-k",
                "--limit-rate", str(RATE),
            )
            for index, base in enumerate((plain, secure))
        ]  # fmt: skip
        time.sleep(1.0)
        reload(station)
        reload(station)
        codes = [each.wait(60) for each in running]
        wait_until("old workers gone", lambda: all(map(is_gone, old)), 30.0)
    assert load.failures == []
    assert load.count > 300
    assert load.percentile(0.99) < 1.0
    assert codes == [0, 0]
    assert {sha256_of(tmp_path / str(index)) for index in range(2)} == {digest}


def test_reload_with_a_file_that_is_wrong_changes_nothing(lab: LabUnderTest) -> None:
    station = lab.stations[0]
    before, text = workers(station, "files_worker"), station.config.read_text()
    refused = log_lines(log_of(station), "reload.refused")
    try:
        station.config.write_text(text + "\n[nonsense]\n")
        os.kill(station.pid, signal.SIGHUP)
        wait_for_line(station, "reload.refused", refused)
    finally:
        station.config.write_text(text)
    assert workers(station, "files_worker") == before


def test_workers_that_cannot_start_leave_those_at_work_in_place(
    lab: LabUnderTest, tmp_path: Path
) -> None:
    station = lab.stations[0]
    before, text = workers(station, "files_worker"), station.config.read_text()
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    try:
        with Load(urls(*own(station)), ca=lab.ca, threads=2) as load:
            station.config.write_text(
                text.replace("[mirror]", f'[mirror]\nsslcert = "{bad}"\nsslkey = "{bad}"')
            )
            died = log_lines(log_of(station), "child.died")
            os.kill(station.pid, signal.SIGHUP)
            wait_for_line(station, "child.died", died + 2)
            assert set(before) <= set(workers(station, "files_worker"))
            station.config.write_text(text)
            reload(station)
    finally:
        station.config.write_text(text)
    assert load.failures == []


def test_killed_worker_takes_only_its_own_connections_along(lab: LabUnderTest) -> None:
    station = lab.stations[0]
    plain, secure = own(station)
    wait_until("no old workers", lambda: len(workers(station, "files_worker")) == 2, 30.0)
    victim = workers(station, "files_worker")[0]
    kept = [connect(station.host, 17080) for _ in range(16)]
    try:
        for connection in kept:
            assert connection.get("/health/live").status == 200
        with Load(urls(plain, secure), ca=lab.ca, threads=6) as load:
            time.sleep(0.5)
            kill(victim, signal.SIGKILL)
            wait_until(
                "a new worker",
                lambda: victim not in (now := workers(station, "files_worker")) and len(now) == 2,
                10.0,
            )
            time.sleep(2.0)
        alive_still = 0
        for connection in kept:
            with contextlib.suppress(OSError, EOFError):
                alive_still += connection.get("/health/live").status == 200
    finally:
        for connection in kept:
            connection.close()
    # At most the request that each client had under way; whoever came meanwhile waited in the queue.
    assert len(load.failures) <= 6, load.failures
    assert load.count > 100
    assert max(load.waits) < 5.0
    assert 0 < alive_still < 16  # the kernel spread them over both


def test_download_cut_by_a_killed_worker_is_resumed_to_the_same_bytes(
    lab: LabUnderTest, repository: Repository, tmp_path: Path
) -> None:
    station = lab.stations[1]
    path, digest = package(repository)
    target = tmp_path / "package.rpm"
    url = f"{lab.http}/repo/{SOURCE}/{path}"
    with download(url, target, "--limit-rate", str(RATE)) as running:
        wait_until("some bytes", lambda: target.exists() and target.stat().st_size > 0, 10.0)
        for each in (station, lab.stations[0]):
            for pid in workers(each, "files_worker"):
                kill(pid, signal.SIGKILL)
        assert running.wait(30) != 0
    assert 0 < target.stat().st_size < PACKAGE_BYTES
    resumed = download(url, target, "-C", "-", "--retry", "8", "--retry-all-errors")
    assert resumed.wait(60) == 0
    assert sha256_of(target) == digest


def test_new_certificate_on_disk_is_served_without_a_signal_and_without_a_drop(
    lab: LabUnderTest, tmp_path: Path
) -> None:
    station = lab.stations[0]
    pki = station.config.parent / "state" / "pki"
    kept = {name: (pki / name).read_bytes() for name in ("public.pem", "public.key")}
    fresh = Certificate.make(tmp_path)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    held = connect(station.host, 17443, context)
    try:
        assert held.get("/health/live").status == 200
        with Load(urls(own(station)[1]), ca=None, threads=4) as load:
            (pki / "public.pem").write_bytes(kept["public.pem"][:100])  # half written
            time.sleep(1.5)
            (pki / "public.pem").write_bytes(fresh.chain.read_bytes())
            (pki / "public.key").write_bytes(fresh.key.read_bytes())
            wanted = ssl.PEM_cert_to_DER_cert(fresh.chain.read_text())
            wait_until(
                "the new certificate",
                lambda: all(presented(station.host, 17443) == wanted for _ in range(8)),
                10.0,
            )
        assert held.get("/health/live").status == 200
    finally:
        held.close()
        for name, data in kept.items():
            (pki / name).write_bytes(data)
    assert load.failures == []
    end = "-----END CERTIFICATE-----\n"
    old = ssl.PEM_cert_to_DER_cert(kept["public.pem"].decode().partition(end)[0] + end)
    wait_until(
        "the old one again",
        lambda: all(presented(station.host, 17443) == old for _ in range(8)),
        10.0,
    )


def test_stations_stopped_and_started_in_turn_behind_the_balancer_fail_nobody(
    lab: LabUnderTest, repository: Repository, tmp_path: Path
) -> None:
    path, digest = package(repository)
    with Load(urls(lab.http, lab.https), ca=lab.ca, threads=6) as load:
        for index, station in enumerate(lab.stations):
            # From the station itself, and by way of the balancer, where some are from it and none is cut.
            bases = [own(station)[0], *[lab.http] * 4]
            targets = [tmp_path / f"{index}-{number}" for number in range(len(bases))]
            running = [
                download(f"{base}/repo/{SOURCE}/{path}", target, "--limit-rate", str(RATE))
                for base, target in zip(bases, targets, strict=True)
            ]
            time.sleep(1.0)
            os.kill(station.pid, signal.SIGTERM)
            wait_until("the end", partial(is_gone, station.pid), 35.0)
            codes = [each.wait(15) for each in running]
            assert codes == [0] * len(bases), "a download that ends within the drain is whole"
            assert {sha256_of(target) for target in targets} == {digest}
            station.stop_restarted()
            station.start_again()
            wait_until("ready again", partial(is_ready, station), 30.0)
            time.sleep(3.0)  # the balancer wants two good answers
    assert load.failures == []
    assert load.count > 500


def test_second_signal_ends_a_station_within_two_seconds(
    lab: LabUnderTest, repository: Repository, tmp_path: Path
) -> None:
    station = lab.stations[0]
    path, _ = package(repository)
    url = f"{own(station)[0]}/repo/{SOURCE}/{path}"
    with download(url, tmp_path / "slow", "--limit-rate", "100000") as running:
        time.sleep(1.0)
        os.kill(station.pid, signal.SIGTERM)
        time.sleep(2.5)
        os.kill(station.pid, signal.SIGTERM)
        took = wait_until("the end", partial(is_gone, station.pid), 20.0)
        running.kill()  # it reads what its kernel holds for a while yet
    assert took < 2.5
    station.stop_restarted()
    station.start_again()
    wait_until("ready again", partial(is_ready, station), 30.0)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def is_ready(station: StationUnderTest) -> bool:
    return bool((station.ask("/status") or {}).get("ready"))


def presented(host: str, port: int) -> bytes:
    """The certificate that a server shows, DER."""
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((host, port), timeout=5.0))
