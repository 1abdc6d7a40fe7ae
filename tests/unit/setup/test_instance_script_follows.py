"""instance-setup.sh in three shells, with a curl that answers from files: whom it believes, asks, and what it says."""

import re
import shlex
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

import station.setup.instance_script
from station.model.install_key import InstallKey
from station.model.records import GroupRecord
from station.peering.keys import Authority, create_authority, fingerprint
from station.peering.trust import Trust
from station.setup.instance_script import TEMPLATE, render_script

RAW = Path(station.setup.instance_script.__file__).with_name(TEMPLATE).read_text(encoding="utf-8")
GROUP = GroupRecord(id="g", compartment="c", hostname="lb.example.com")
SHELLS = [("dash",), ("bash", "--posix"), ("busybox", "ash")]
NOW = time.time()
OURS, OTHER = create_authority("ours", NOW), create_authority("other", NOW)
TRUST = Trust().replaced(OTHER.ca)

# Answers with the file that is called like the first part of the path; hosts in `dead` do not answer.
CURL = """#!/bin/sh
while [ $# -gt 1 ]; do
    case $1 in --output) out=$2 ;; --request) method=$2 ;; --data-binary) body=${{2#@}} ;; esac
    shift
done
cat >/dev/null
host=${{1#https://}} host=${{host%%:*}} path=${{1#https://*/}}
printf '%s %s %s\\n' "$method" "$host" "${{path%%\\?*}}" >>{directory}/asked
! grep -qx -e "$host" -e "$method" {directory}/dead || exit 7
[ -z "${{body:-}}" ] || {{ echo "$method" && cat "$body"; }} >>{directory}/said
case $path in */repos*) path=repos ;; esac
[ -f "{directory}/${{path%%/*}}" ] || {{ printf 404; exit 0; }}
cp "{directory}/${{path%%/*}}" "$out"
printf 200
"""
ANSWER = """profile=web
hostname=lb.example.com
others={others}
https=17443
proxy=16080
trust=0
changed={changed}
token=secret-token
keys=
"""


@dataclass
class Bench:
    """An instance, and what it is told."""

    directory: Path
    shell: tuple[str, ...]

    def __post_init__(self) -> None:
        for part in ("bin", "told", "root/etc/yum.repos.d", "tmp"):
            (self.directory / part).mkdir(parents=True)
        (self.directory / "bin/curl").write_text(CURL.format(directory=self.directory / "told"))
        (self.directory / "bin/curl").chmod(0o755)
        (self.directory / "bin/sleep").write_text("#!/bin/sh\n")
        (self.directory / "bin/sleep").chmod(0o755)
        self.script = render_script(RAW, GROUP, fingerprint(OURS.ca).hex())
        self.tell("instance-setup.sh", self.script)
        self.tell("repos", "[base]\nname=base\n")
        self.tell("health", "alive")
        self.tell("dead", "")
        self.trust(Trust())
        self.answer()

    def tell(self, name: str, text: str) -> None:
        (self.directory / "told" / name).write_text(text, encoding="ascii")

    def take(self, name: str) -> str:
        """That answer is 404 from now on; what it was."""
        path = self.directory / "told" / name
        text = path.read_text(encoding="ascii")
        path.unlink()
        return text

    def trust(self, trust: Trust, by: Authority = OURS) -> str:
        text = trust.bundle(by.ca, by.ca_key).decode()
        self.tell("trust.pem", text)
        return text

    def answer(self, *, changed: str = "", others: str = "") -> None:
        self.tell("instances", ANSWER.format(changed=changed, others=others))

    def run(self, *options: str) -> tuple[int, str]:
        (self.directory / "script").write_text(self.script)
        for kept in ("asked", "said"):
            (self.directory / "told" / kept).write_text("")
        done = subprocess.run(
            [*self.shell, str(self.directory / "script"), *options],
            env={
                "PATH": f"{self.directory}/bin:/usr/bin:/bin",
                "ROOT": str(self.directory / "root"),
                "TMPDIR": str(self.directory / "tmp"),
            },
            input=InstallKey(fingerprint(OURS.ca), 17443, bytes(32)).text(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout

    def registered(self) -> None:
        status, said = self.run("--key-file", "-")
        assert status == 0, said

    @property
    def asked(self) -> list[str]:
        return (self.directory / "told/asked").read_text().splitlines()

    def said(self, name: str) -> list[str]:
        """What it told the stations of one thing in the last run, in order."""
        lines = (self.directory / "told/said").read_text().splitlines()
        return [value for key, _, value in (line.partition("=") for line in lines) if key == name]

    def files(self) -> dict[str, str]:
        root = self.directory / "root"
        return {str(p): p.read_text() for p in sorted(root.rglob("*")) if p.is_file()}

    @property
    def ca(self) -> str:
        return (self.directory / "root/etc/pki/station/ca.pem").read_text()


@pytest.fixture(params=SHELLS, ids=" ".join)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    return Bench(tmp_path / "b", request.param)


def test_registering_and_checking_in_again_change_nothing(bench: Bench) -> None:
    bench.registered()
    once = bench.files()
    bench.trust(Trust())  # another signature over the same
    bench.registered()
    assert bench.run("--check-in")[0] == 0
    assert bench.files() == once
    assert OURS.ca.strip() in bench.ca
    assert "signed" not in bench.ca


def test_more_authorities_are_taken_when_the_groups_ca_has_signed_them(bench: Bench) -> None:
    bench.registered()
    bench.trust(TRUST)
    bench.answer(changed="trust")
    status, said = bench.run("--check-in")
    assert (status, "the CA file was renewed" in said) == (0, True), said
    assert OTHER.ca.strip() in bench.ca


@pytest.mark.parametrize("forgery", ["by another CA", "added", "cut", "unsigned", "an old one"])
def test_what_the_groups_ca_has_not_signed_is_not_taken(bench: Bench, forgery: str) -> None:
    bench.trust(TRUST)
    bench.registered()
    before = bench.files()
    good = bench.trust(TRUST.replaced(OTHER.ca))
    match forgery:
        case "by another CA":
            bench.trust(TRUST.replaced(""), by=OTHER)
        case "added":
            more = create_authority("more", NOW).ca
            bench.tell("trust.pem", good.replace("# signed", f"{more}# signed"))
        case "cut":
            bench.tell("trust.pem", good[: good.index("# signed")])
        case "unsigned":
            bench.tell("trust.pem", good[: good.index("# signed")] + "# signed=\n")
        case "an old one":
            bench.trust(Trust())
    bench.answer(changed="trust")
    status, said = bench.run("--check-in")
    assert status == 1
    assert "somebody is in between" in said
    assert bench.files() == before


def test_who_is_not_there_is_asked_after_the_others_that_were_named(bench: Bench) -> None:
    bench.answer(others="b.example.com c.example.com")
    bench.registered()
    bench.tell("dead", "lb.example.com\nb.example.com\n")
    status, said = bench.run("--check-in")
    assert status == 0, said
    hosts = [line.split()[1] for line in bench.asked]
    # Twice each time (the trust of a host that does not answer is looked at too), then whoever answered.
    assert hosts[-1] == "c.example.com"
    assert set(hosts) == {"lb.example.com", "b.example.com", "c.example.com"}


def test_hosts_that_are_none_are_not_asked(bench: Bench) -> None:
    bench.answer(others="b.example.com $(touch${IFS}x) `id` c;d")
    bench.registered()
    kept = bench.directory / "root/var/lib/station-instance/settings"
    others = [line for line in kept.read_text().splitlines() if line.startswith("others=")]
    assert not set(others[0]) & set("$`;(){}")


@pytest.mark.parametrize("step", ["repos", "instance-setup.sh"])
def test_registration_that_fails_at_a_later_step_is_reported_with_the_reason(
    bench: Bench, step: str
) -> None:
    before = bench.files()
    kept = bench.take(step)
    status, said = bench.run("--key-file", "-")
    assert status == 1
    (reason,) = bench.said("registration")
    assert reason.endswith("404 nothing was changed")
    assert reason.removesuffix(" nothing was changed") in said
    left = {path for path in bench.files() if path not in before}
    assert {Path(path).name for path in left} == {"id", "secret"}
    bench.tell(step, kept)
    bench.registered()
    assert bench.said("registration") == []


def test_registration_that_could_not_write_is_reported_after_the_old_files_are_back(
    bench: Bench,
) -> None:
    repos = bench.directory / "root/etc/yum.repos.d"
    (repos / "vendor.repo").write_text("[vendor]\n")
    (bench.directory / "root/etc/systemd").write_text("no directory")
    status, said = bench.run("--key-file", "-")
    assert (status, "the previous .repo files are back" in said) == (1, True), said
    assert bench.said("registration") == [
        "not everything could be written the previous .repo files are back"
    ]
    assert [path.name for path in repos.iterdir()] == ["vendor.repo"]


def test_stations_that_refuse_are_told_nothing_more(bench: Bench) -> None:
    bench.take("instances")
    status, said = bench.run("--key-file", "-")
    assert (status, "not registered: 404" in said) == (1, True), said
    assert bench.said("registration") == []


def test_trouble_at_a_check_in_is_said_at_the_next_until_one_goes_well(bench: Bench) -> None:
    bench.registered()
    once = bench.files()
    bench.answer(changed="repos")
    kept = bench.take("repos")
    assert bench.run("--check-in")[0] == 1
    assert bench.said("error") == [""]
    assert bench.run("--check-in")[0] == 1
    assert "the repository files could not be renewed: 404" in bench.said("error")[0]
    bench.tell("repos", kept)
    assert bench.run("--check-in")[0] == 0
    assert bench.run("--check-in")[0] == 0
    assert bench.said("error") == [""]
    assert bench.files() == once


def test_instance_that_was_deleted_puts_everything_back_and_then_confirms(bench: Bench) -> None:
    (bench.directory / "root/etc/yum.repos.d/vendor.repo").write_text("[vendor]\n")
    before = bench.files()
    bench.registered()
    bench.answer(changed="repos deleted")
    status, said = bench.run("--check-in")
    assert (status, "the previous .repo files are back" in said) == (0, True), said
    assert bench.files() == before
    assert bench.asked[-1].startswith("DELETE ")


@pytest.mark.parametrize("fault", ["a file that cannot be put back", "no answer"])
def test_instance_that_could_not_leave_confirms_nothing_and_tries_again(
    bench: Bench, fault: str
) -> None:
    repos = bench.directory / "root/etc/yum.repos.d"
    (repos / "vendor.repo").write_text("[vendor]\n")
    before = bench.files()
    bench.registered()
    bench.answer(changed="deleted")
    if fault == "no answer":
        bench.tell("dead", "DELETE\n")
    else:
        (bench.directory / "bin/mv").write_text("#!/bin/dash\nexit 1\n")
        (bench.directory / "bin/mv").chmod(0o755)
    assert bench.run("--check-in")[0] == 1
    assert fault == "no answer" or not [a for a in bench.asked if a.startswith("DELETE ")]
    bench.tell("dead", "")
    (bench.directory / "bin/mv").unlink(missing_ok=True)
    status, said = bench.run("--check-in")
    assert status == 0, said
    assert bench.files() == before


def test_machine_that_goes_down_says_so_once_and_waits_for_nobody(bench: Bench) -> None:
    bench.answer(others="b.example.com")
    bench.registered()
    once = bench.files()
    assert bench.run("--going-down")[0] == 0
    assert bench.said("going") == ["reboot"]
    bench.tell("dead", "lb.example.com\n")
    status, said = bench.run("--going-down")
    assert (status, "do not know that this machine goes down" in said) == (0, True)
    assert len(bench.asked) == 1
    bench.tell("dead", "")
    assert bench.run("--check-in")[0] == 0
    assert bench.said("going") == []
    assert bench.files() == once


JOBS = """JOB UNIT                      TYPE  STATE
  1 {target}             start waiting
  2 station-going-down.service stop running

2 jobs listed.
"""


@pytest.mark.parametrize(
    ("target", "is_said"),
    [("reboot.target", True), ("kexec.target", True), ("poweroff.target", False)],
)
def test_unit_speaks_only_when_the_machine_goes_down_to_boot(
    bench: Bench, target: str, is_said: bool
) -> None:
    bench.registered()
    unit = (bench.directory / "root/etc/systemd/system/station-going-down.service").read_text()
    (stop,) = re.findall(r"^ExecStop=-(.*)$", unit, re.M)
    for name, text in (("systemctl", f"cat <<E\n{JOBS.format(target=target)}E"), ("sh", "echo $*")):
        (bench.directory / "bin" / name).write_text(f"#!/bin/dash\n{text}\n")
        (bench.directory / "bin" / name).chmod(0o755)
    words = shlex.split(stop)
    assert words[0] == "/bin/sh"
    path = f"{bench.directory}/bin:/usr/bin:/bin"
    done = subprocess.run(
        [*bench.shell, *words[1:]], env={"PATH": path}, capture_output=True, text=True, check=False
    )
    said = "/usr/local/libexec/station-instance-setup --going-down\n" if is_said else ""
    assert (done.stdout, done.stderr) == (said, "")


def test_systemd_finds_nothing_to_say_about_the_units(bench: Bench) -> None:
    bench.registered()
    root = bench.directory / "root"
    shutil.copytree("/usr/lib/systemd/system", root / "usr/lib/systemd/system", symlinks=True)
    (root / "lib").symlink_to("usr/lib")
    (root / "bin").mkdir()
    (root / "bin/sh").write_text("")
    (root / "bin/sh").chmod(0o755)
    units = ("station-check-in.service", "station-check-in.timer", "station-going-down.service")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", f"--root={root}", *units],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
