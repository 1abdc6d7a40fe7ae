"""What this host tells of itself to who looks for a fault: processes, storage, certificates, versions, the journal.

Nothing here waits for long, or touches what may hang, on the way out; what cannot be had is an OSError that says why.
"""

import os
import platform
import re
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from station import __version__
from station.config.schema import Config
from station.peering.certificate_facts import certificate_facts
from station.peering.keys import KeysInvalid

STORAGE_S = 5.0  # a file server that does not answer hangs whoever asks
JOURNAL_S = 30.0
JOURNAL_LINES = 5000  # a day or two of a busy station
FILES_MAX = 1000
_SUPERVISOR = "station.app.supervisor"
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


def versions() -> dict[str, Any]:
    """Of the package and what it needs, Python, OpenSSL, the kernel and the distribution."""
    found = [_NAME.match(text) for text in requires("station") or ()]
    names = [match[0] for match in found if match]
    libraries = {}
    for name in names:
        try:
            libraries[name] = version(name)
        except PackageNotFoundError:
            libraries[name] = "not installed"
    release = {}
    with suppress(OSError):  # a container without one
        release = platform.freedesktop_os_release()
    return {
        "station": __version__,
        "python": sys.version,
        "openssl": ssl.OPENSSL_VERSION,
        "kernel": " ".join(platform.uname()),
        "distribution": release.get("PRETTY_NAME", "-"),
        "libraries": libraries,
    }


def supervisor_of(admin_socket: Path) -> int:
    """Pid of the supervisor behind an admin socket. Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(STORAGE_S)
        asking.connect(str(admin_socket))
        raw = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    # Whoever called listen() last: control, below the supervisor.
    pid = int(_CREDENTIALS.unpack(raw)[0])
    while pid > 1:
        if _SUPERVISOR in _command(pid):
            return pid
        pid = _parent(pid)
    raise ProcessLookupError("the processes of the station cannot be seen from here")


def processes(supervisor: int) -> list[dict[str, Any]]:
    """The supervisor and what it started. `pss_kib` is null where this user may not see it. Raises OSError."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = _parent(int(path.name))
        except OSError:
            continue  # it has ended
    found, generation = [supervisor], {supervisor}
    while generation:
        generation = {child for child, parent in parents.items() if parent in generation}
        found += sorted(generation)
    rows = []
    for pid in found:
        try:
            rows.append(_process(pid, parents.get(pid, 0)))
        except OSError:
            continue
    return rows


def limits(pid: int) -> str:
    """What the kernel allows a process. Raises OSError."""
    return Path(f"/proc/{pid}/limits").read_text(encoding="utf-8")


def storage(path: str) -> dict[str, Any]:
    """The file system of the storage path, how it is mounted, and what is free. Raises OSError: also when it hangs."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    mounts = [line.split() for line in lines]
    wanted = os.path.normpath(path)
    under = [m for m in mounts if _is_below(wanted, m[4])]
    mount = max(under, key=lambda fields: len(fields[4]), default=None)
    facts: dict[str, Any] = {"path": path}
    if mount:
        kind, device, options = mount[mount.index("-") + 1 :][:3]
        facts |= {"mount_point": mount[4], "options": mount[5], "file_system": kind}
        facts |= {"device": device, "super_options": options}
    found: list[os.statvfs_result | OSError] = []

    def ask() -> None:
        try:
            found.append(os.statvfs(path))
        except OSError as error:
            found.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(STORAGE_S)
    answer = found[0] if found else f"no answer within {STORAGE_S:.0f} s"
    if isinstance(answer, os.statvfs_result):
        facts["bytes"] = answer.f_blocks * answer.f_frsize
        facts["bytes_free"] = answer.f_bavail * answer.f_frsize
        facts["inodes"], facts["inodes_free"] = answer.f_files, answer.f_favail
    else:
        facts["error"] = str(answer)
    return facts


def state_files(directory: Path) -> list[dict[str, Any]]:
    """What lies in the state directory: names, sizes, modes, times; no content. Raises OSError."""
    os.listdir(directory)  # says why, where this user may not
    rows = []
    for path in sorted(directory.rglob("*"))[:FILES_MAX]:
        try:
            found = path.lstat()
        except OSError:
            continue
        row = {"name": str(path.relative_to(directory)), "bytes": found.st_size}
        rows.append(
            row | {"mode": f"{found.st_mode:o}", "uid": found.st_uid, "mtime": found.st_mtime}
        )
    return rows


def certificates(config: Config) -> dict[str, Any]:
    """Names and dates of this station's certificates, by file; never a key. Raises OSError."""
    pki = Path(config.state_directory) / "pki"
    os.listdir(pki)  # says why, where this user may not
    paths = sorted(pki.glob("*.pem"))
    if config.mirror.sslcert:
        paths.append(Path(config.mirror.sslcert))
    found: dict[str, Any] = {}
    for path in paths:
        try:
            found[str(path)] = certificate_facts(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            reason = str(error) if isinstance(error, KeysInvalid | OSError) else "not text"
            found[str(path)] = {"error": reason}
    return found


def journal() -> str:
    """The last lines of the unit's journal. Raises OSError."""
    program = shutil.which("journalctl")
    if program is None:
        raise FileNotFoundError("journalctl is not installed on this host")
    words = ["--unit=station", "--no-pager", "--output=short-iso", f"--lines={JOURNAL_LINES}"]
    try:
        done = subprocess.run(
            [program, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=JOURNAL_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"journalctl said nothing within {JOURNAL_S:.0f} s") from None
    text = done.stdout.decode("utf-8", "replace")
    if done.returncode or not text.strip() or text.startswith("-- No entries --"):
        said = done.stderr.decode("utf-8", "replace").strip()
        raise FileNotFoundError(said or "the journal has nothing of the unit station")
    return text


def _process(pid: int, parent: int) -> dict[str, Any]:
    directory = Path(f"/proc/{pid}")
    fields = (directory / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    row: dict[str, Any] = {"pid": pid, "parent": parent, "command": _command(pid)}
    row |= {"state": fields[0], "threads": int(fields[17]), "pss_kib": None, "descriptors": None}
    with suppress(OSError):  # not ours to see
        rollup = (directory / "smaps_rollup").read_text(encoding="utf-8").splitlines()
        row["pss_kib"] = sum(int(text.split()[1]) for text in rollup if text.startswith("Pss:"))
        row["descriptors"] = len(os.listdir(directory / "fd"))
    return row


def _command(pid: int) -> str:
    raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    return raw.replace(b"\0", b" ").decode("utf-8", "replace").strip()


def _parent(pid: int) -> int:
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    return int(text.rpartition(")")[2].split()[1])


def _is_below(path: str, mount: str) -> bool:
    return mount == "/" or path == mount or path.startswith(f"{mount}/")
