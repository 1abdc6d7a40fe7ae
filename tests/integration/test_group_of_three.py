"""What the product is for: three stations behind the balancer, real dnf, and one of them dies."""

import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.integration.dnf import Dnf
from tests.integration.lab import LabUnderTest, StationUnderTest, pss_mib, wait_until
from tests.integration.repositories import Repository, build_repository
from tests.integration.upstream import Upstream

NETWORK = "127.41.1"
HOUR_S = 3600.0

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    # Large enough that slow clients are still at it when a station dies.
    return build_repository(tmp_path_factory.mktemp("upstream"), packages=12, size=200_000)


@pytest.fixture(scope="module")
def lab() -> Iterator[LabUnderTest]:
    with LabUnderTest(NETWORK) as running:
        yield running


def source_of(lab: LabUnderTest) -> str:
    source: str = lab.facts["sources"][0]
    return source


def client(tmp_path: Path, lab: LabUnderTest, scheme: str = "http", *, proxy: str = "") -> Dnf:
    dnf = Dnf(tmp_path)
    base = lab.http if scheme == "http" else lab.https
    ca = lab.ca if scheme == "https" else ""
    dnf.repo("demo", cacert=ca, baseurl=f"{base}/repo/{source_of(lab)}/", proxy=proxy)
    return dnf


def test_dnf_works_through_the_balancer_on_http(lab: LabUnderTest, tmp_path: Path) -> None:
    dnf = client(tmp_path, lab)
    dnf.makecache().check()
    assert "station-demo-hello" in dnf.repoquery().check().output
    dnf.install("station-demo-all").check()
    assert len(dnf.installed()) >= 4


def test_dnf_works_through_the_balancer_on_https_with_the_ca_verified(
    lab: LabUnderTest, tmp_path: Path
) -> None:
    client(tmp_path, lab, "https").install("station-demo-all").check()


def test_dnf_refuses_https_without_the_ca(lab: LabUnderTest, tmp_path: Path) -> None:
    dnf = Dnf(tmp_path)
    dnf.repo("demo", baseurl=f"{lab.https}/repo/{source_of(lab)}/")
    assert dnf.makecache().rc != 0


@pytest.mark.parametrize(
    ("curve", "is_spoken"), [("prime256v1", True), ("secp384r1", True), ("secp521r1", False)]
)
def test_both_tls_ports_of_a_station_speak_mozillas_curves_only(
    lab: LabUnderTest, curve: str, is_spoken: bool
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ecdh_curve(curve)
    for port in (17443, 17946):
        with (
            socket.create_connection((lab.stations[0].host, port), timeout=10) as raw,
            nullcontext() if is_spoken else pytest.raises(ssl.SSLError),
        ):
            context.wrap_socket(raw).close()


def test_dnf_works_by_connect_through_the_proxy(lab: LabUnderTest, tmp_path: Path) -> None:
    client(tmp_path, lab, "https", proxy=lab.proxy).install("station-demo-all").check()


def test_dnf_works_by_mirrorlist(lab: LabUnderTest, tmp_path: Path) -> None:
    dnf = Dnf(tmp_path)
    dnf.repo_text(
        "demo",
        f"[demo]\nname=demo\nmirrorlist={lab.http}/mirrorlist/{source_of(lab)}/lab\n"
        f"gpgcheck=1\ngpgkey={lab.http}/keys/{source_of(lab)}\n",
    )
    dnf.install("station-demo-all").check()


def test_profile_and_instance_reach_every_station_and_leave_it(
    lab: LabUnderTest, upstream: Upstream
) -> None:
    a, b = lab.stations[0], lab.stations[1]
    for source in ("web", "db"):
        a.tell("POST", "/sources", {"id": source, "url": upstream.url})
    a.tell("POST", "/profiles", {"name": "webs", "station": a.name, "sources": ["web"]})
    listed = wait_until(
        "web listed everywhere", lambda: all("web" in s.mirrors() for s in lab.stations), 2.0
    )
    synced = lab.wait_synced("web")
    b.tell("POST", "/instances", {"id": "db1", "station": b.name, "sources": ["db"]})
    wait_until("db listed everywhere", lambda: all("db" in s.mirrors() for s in lab.stations), 2.0)
    lab.wait_synced("db")
    reasons = {reason for s in lab.stations for reason in s.mirrors()["db"]["reasons"]}
    assert reasons == {f"instance db1 (station {b.name})"}
    b.tell("DELETE", "/profiles/webs")
    a.tell("DELETE", "/instances/db1")
    wait_until(
        "both gone everywhere",
        lambda: not any({"web", "db"} & s.mirrors().keys() for s in lab.stations),
        2.0,
    )
    for source in ("web", "db"):
        b.tell("DELETE", f"/sources/{source}")
    print(f"listed everywhere after {listed:.2f} s, SYNCED after {synced:.2f} s")


def test_every_station_tells_when_upstream_was_and_will_be_looked_at(lab: LabUnderTest) -> None:
    """Whichever looks. The group may have it more often; a look in an hour at the latest is then due."""
    source = source_of(lab)

    def told(name: str) -> list[float]:
        found = [station.mirrors()[source][name] for station in lab.stations]
        return [at - time.time() for at in found] if all(found) else []

    wait_until("all tell of the last look", lambda: told("time_last_synced"), 10.0)
    assert all(-600 < seconds < 0 for seconds in told("time_last_synced"))
    wait_until("all tell of the next one", lambda: told("time_next_sync"), 10.0)
    assert all(seconds > HOUR_S for seconds in told("time_next_sync"))
    lab.stations[1].tell("PATCH", "/group", {"sync_every_h": 1})
    wait_until(
        "it comes within the hour",
        lambda: max(told("time_next_sync"), default=2 * HOUR_S) < HOUR_S,
        15.0,
    )


def test_twenty_installs_survive_the_death_of_a_station_and_it_comes_back(
    lab: LabUnderTest, upstream: Upstream, tmp_path: Path
) -> None:
    keeper, victim = lab.stations[0], lab.stations[2]
    keeper.tell("POST", "/sources", {"id": "large", "url": upstream.url})
    profile = {"name": "larges", "station": victim.name, "sources": ["large"]}
    keeper.tell("POST", "/profiles", profile)
    lab.wait_synced("large")
    bases = {
        "baseurl": f"baseurl={lab.http}/repo/large/",
        "mirrorlist": f"mirrorlist={lab.http}/mirrorlist/large/larges",
    }

    def install(number: int) -> tuple[int, str]:
        how = list(bases)[number % 2]
        dnf = Dnf(tmp_path / str(number))
        # A slow client, so that its connections are open when the station dies.
        dnf.repo_text("large", f"[large]\nname=large\n{bases[how]}\nthrottle=200k\ngpgcheck=0\n")
        run = dnf.install("lab-all")
        return run.rc, run.output

    with ThreadPoolExecutor(20) as pool:
        runs = [pool.submit(install, number) for number in range(20)]
        wait_until("clients are connected", lambda: connections_to(victim) >= 8, 30.0)
        busy = connections_to(victim)
        victim.kill_all()
        results = [run.result() for run in runs]
    failed = [output for rc, output in results if rc]
    print(f"{busy} client connections were open to {victim.name} when it was killed")
    assert not failed, "\n\n".join(failed)
    victim.start_again()
    took = wait_until(
        "the killed station is back with the group's revision",
        lambda: (
            {r["revision"] for s in lab.stations for r in s.mirrors().values()} != {""}
            and len({tuple(sorted(s.mirrors())) for s in lab.stations}) == 1
            and (victim.ask("/status") or {}).get("ready")
        ),
        10.0,
    )
    print(f"restarted: converged after {took:.2f} s")


def test_idle_station_is_small_and_answers_soon_after_start(lab: LabUnderTest) -> None:
    station = lab.stations[1]
    processes = station.processes()
    size = pss_mib(processes)
    station.kill_all()
    wait_until("its ports are free", lambda: not answers(station), 10.0)
    began = time.monotonic()
    station.start_again()
    wait_until("the first answer", lambda: answers(station), 20.0)
    took = time.monotonic() - began
    print(f"idle {size:.0f} MiB PSS in {len(processes)} processes; first answer {took:.2f} s")
    assert len(processes) == 7, "supervisor, control, storage child, four workers"
    assert size <= 140
    assert took <= 2.0


def test_proxy_refuses_what_is_not_a_destination(lab: LabUnderTest) -> None:
    balancer = lab.facts["balancer"]
    for target in ("127.0.0.1:22", "169.254.169.254:80", "localhost:443"):
        with socket.create_connection((balancer["host"], balancer["proxy"]), 5) as sock:
            sock.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
            answer = sock.recv(4096)
        assert answer.startswith(b"HTTP/1.1 403 "), (target, answer)


def test_curl_sees_one_etag_whichever_station_answers(lab: LabUnderTest) -> None:
    path = f"/repo/{source_of(lab)}/repodata/repomd.xml"
    seen = set()
    for station in lab.stations:
        url = f"http://{station.host}:{lab.facts['balancer']['http']}{path}"
        done = subprocess.run(
            ["curl", "-sI", "--max-time", "10", url], capture_output=True, check=True
        )
        heads = {x.split(b":")[0].lower(): x for x in done.stdout.splitlines() if b":" in x}
        seen.add((heads[b"etag"], heads[b"last-modified"]))
    assert len(seen) == 1, seen


def connections_to(station: StationUnderTest) -> int:
    """Established client connections to the station's http port, from /proc/net/tcp."""
    number = int.from_bytes(socket.inet_aton(station.host), "little")
    wanted = f"{number:08X}:{17080:04X}"
    rows = [x.split() for x in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1] == wanted and row[3] == "01" for row in rows)


def answers(station: StationUnderTest) -> bool:
    try:
        with socket.create_connection((station.host, 17080), 1) as sock:
            sock.settimeout(1)
            sock.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            return b" 200 " in sock.recv(1024)
    except OSError:
        return False
