"""A real files worker over a real storage directory, fed by a small feed server. Used by tests and by the bench."""

import hashlib
import json
import os
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from station.app.plan import TLS_ENVIRONMENT
from station.model.identity import Revision
from station.model.publication import Publication
from station.model.snapshot import MemberView, Snapshot, SourceView, to_wire
from station.repo.manifest import Entry, build_manifest
from station.runtime.frames import FrameReader, encode_frame
from station.storage.layout import Layout

MTIME = 1_700_000_000
START_S = 10.0


def boot() -> float:
    """The clock that feed and worker share."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def revision_of(files: dict[str, bytes]) -> Revision:
    """Any identity will do here, as long as other content has another one."""
    return Revision.parse(hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest())


class Storage:
    """A storage path with manifests and pool objects."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)

    def add(
        self, source: str, files: dict[str, bytes], *, missing: tuple[str, ...] = ()
    ) -> Revision:
        """A revision with these files; those in `missing` are in the manifest only."""
        revision = revision_of(files)
        entries = []
        for path, data in files.items():
            entry = Entry(path, hashlib.sha256(data).hexdigest(), len(data), MTIME)
            entries.append(entry)
            if path not in missing:
                self.put(data)
        manifest = self.layout.manifest(source, revision)
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.write_bytes(build_manifest(entries))
        return revision

    def put(self, data: bytes) -> Path:
        """One object into the pool."""
        target = self.layout.pool(hashlib.sha256(data).hexdigest())
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        return target


class FeedServer:
    """Control's end of the feed: beats until told to stop, sends snapshots, collects what comes up."""

    def __init__(self, path: Path) -> None:
        self.received: list[dict[str, Any]] = []
        self.is_beating = True
        self._snapshot: Snapshot | None = None
        self._clients: list[tuple[socket.socket, FrameReader]] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._lock = threading.Lock()
        self._is_open = True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def show(self, snapshot: Snapshot) -> None:
        """Send a snapshot, now and to whoever connects later."""
        with self._lock:
            self._snapshot = snapshot
            self._send_locked({"snapshot": to_wire(snapshot), "beat": boot()})

    def send(self, message: dict[str, Any]) -> None:
        """Send any message to all workers."""
        with self._lock:
            self._send_locked(message)

    def drop_clients(self) -> None:
        """Close all connections, as a restart of control does."""
        with self._lock:
            for sock, _ in self._clients:
                sock.close()
            self._clients.clear()

    def wants(self) -> list[dict[str, Any]]:
        """What workers asked for."""
        return [message["want"] for message in list(self.received) if "want" in message]

    def counters(self) -> dict[str, int]:
        """The newest counters."""
        found = [message["counters"] for message in list(self.received) if "counters" in message]
        return found[-1] if found else {}

    def close(self) -> None:
        """End it."""
        self._is_open = False
        self._thread.join()
        for sock, _ in self._clients:
            sock.close()
        self._listener.close()

    def _send_locked(self, message: dict[str, Any]) -> None:
        for client in list(self._clients):
            try:
                client[0].sendall(encode_frame(message))
            except OSError:
                self._clients.remove(client)
                client[0].close()

    def _run(self) -> None:
        beat_at = 0.0
        while self._is_open:
            socks = [self._listener, *(sock for sock, _ in self._clients)]
            readable, _, _ = select.select(socks, [], [], 0.05)
            with self._lock:
                if self._listener in readable:
                    self._accept()
                for client in list(self._clients):
                    if client[0] in readable:
                        self._read(client)
                if self.is_beating and time.monotonic() >= beat_at:
                    beat_at = time.monotonic() + 0.25
                    self._send_locked({"beat": boot()})

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        self._clients.append((sock, FrameReader()))
        if self._snapshot is not None:
            sock.sendall(encode_frame({"snapshot": to_wire(self._snapshot), "beat": boot()}))

    def _read(self, client: tuple[socket.socket, FrameReader]) -> None:
        try:
            data = client[0].recv(65536)
        except ConnectionResetError:  # the worker was killed with words of ours unread
            data = b""
        if not data:
            self._clients.remove(client)
            client[0].close()
            return
        self.received += client[1].feed(data)


class FilesLab:
    """One worker, or several on the same ports, with http, https and unix listeners. A context manager."""

    def __init__(
        self,
        directory: Path,
        *,
        limits: Mapping[str, float] | None = None,
        balancers: list[str] | None = None,
        tls: tuple[Path, Path] | None = None,
        congestion: str = "",
        command: tuple[str, ...] = (),
        log: Path | None = None,
        access_log: Mapping[str, str] | None = None,
        workers: int = 1,
    ) -> None:
        self.directory = directory
        self.storage = Storage(directory / "storage")
        self.storage.layout.root.mkdir(exist_ok=True)
        (directory / "manifests").mkdir(exist_ok=True)
        self.log = log or directory / "worker.log"
        self._limits, self._balancers, self._tls = dict(limits or {}), balancers or [], tls
        self._congestion, self._command = congestion, command
        self._access_log = dict(access_log or {})
        self._workers = workers
        self.preface = b""  # sent first on each connection, as a balancer would

    def __enter__(self) -> Self:
        self.feed = FeedServer(self.directory / "feed.sock")
        self.unix = self.directory / "files.sock"
        unix = socket.socket(socket.AF_UNIX)
        unix.bind(str(self.unix))
        unix.listen(128)
        self.http = self.https = 0
        self.processes = [self._start(number, unix) for number in range(self._workers)]
        self.process = self.processes[0]
        unix.close()
        return self

    def _start(self, number: int, unix: socket.socket) -> subprocess.Popen[bytes]:
        listeners = [_tcp_listener(self.http), _tcp_listener(self.https), unix]
        self.http, self.https = (sock.getsockname()[1] for sock in listeners[:2])
        kinds = ("http", "https", "unix")
        settings = {
            "name": f"files-{number}",
            "storage": str(self.storage.layout.root),
            "manifests": str(self.directory / "manifests"),
            "feed": str(self.directory / "feed.sock"),
            "relay": str(self.directory / "http.sock"),
            "listeners": [
                {"fd": sock.fileno(), "kind": kind}
                for sock, kind in zip(listeners, kinds, strict=True)
                if kind != "https" or self._tls
            ],
            "tls": {"cert": str(self._tls[0]), "key": str(self._tls[1])} if self._tls else None,
            "balancers": self._balancers,
            "access_log": self._access_log,
            "limits": self._limits,
            "tcp_congestion": self._congestion,
        }
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [*self._command, sys.executable, "-m", "station.serve.files_worker"],
                env={**TLS_ENVIRONMENT, **os.environ, "STATION_SETTINGS": json.dumps(settings)},
                pass_fds=[sock.fileno() for sock in listeners],
                stderr=log,
                cwd=Path(__file__).parents[2],
            )
        for sock in listeners[:2]:
            sock.close()
        return process

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.feed.close()

    def snapshot(self, number: int = 1, **changes: Any) -> Snapshot:
        """A snapshot of a ready station in a group of two."""
        fields: dict[str, Any] = {
            "number": number,
            "is_ready": True,
            "reason": "",
            "station": "StationA",
            "hostname": "lb.example.com",
            "members": (
                MemberView("StationA", "127.0.0.11"),
                MemberView("StationB", "127.0.0.12"),
            ),
        }
        return Snapshot(**{**fields, **changes})

    def publish(self, source: str, revision: Revision, *others: Revision, key: str = "") -> None:
        """Show `revision` as live, `others` as retained, and wait until the worker says so."""
        view = SourceView(live=Publication(1, 1, revision), revisions=(revision, *others), key=key)
        self.feed.show(self.snapshot(sources={source: view}, listed=frozenset({source})))
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait for /health/ready."""
        ends = time.monotonic() + START_S
        while time.monotonic() < ends:
            try:
                if b" 200 " in self.ask(b"GET /health/ready HTTP/1.1\r\nHost: h\r\n\r\n")[0]:
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise AssertionError(f"the worker was not ready: {self.log.read_text()}")

    def connect(self, *, timeout: float = 5.0) -> socket.socket:
        """A connection to the http listener."""
        return socket.create_connection(("127.0.0.1", self.http), timeout=timeout)

    def _connect_prefaced(self) -> socket.socket:
        sock = self.connect()
        sock.sendall(self.preface)
        return sock

    def connect_tls(self, *, timeout: float = 5.0) -> ssl.SSLSocket:
        """A connection to the https listener; its certificate is not this test's matter."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        sock = socket.create_connection(("127.0.0.1", self.https), timeout=timeout)
        return context.wrap_socket(sock, server_hostname="localhost")

    def ask(self, head: bytes, *, tls: bool = False) -> tuple[bytes, bytes]:
        """One request on its own connection: head and body of the answer."""
        with self.connect_tls() if tls else self._connect_prefaced() as sock:
            sock.sendall(head)
            return read_answer(sock, is_head=head.startswith(b"HEAD"))

    def get(
        self, path: str, *headers: str, method: str = "GET", tls: bool = False
    ) -> tuple[bytes, bytes]:
        """The answer to a request for a path."""
        lines = [f"{method} {path} HTTP/1.1", "Host: h", *headers]
        return self.ask(("\r\n".join(lines) + "\r\n\r\n").encode(), tls=tls)


def read_answer(sock: socket.socket, *, is_head: bool = False) -> tuple[bytes, bytes]:
    """Head and body of one answer. Raises EOFError when it is not whole."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(1)
        if not piece:
            raise EOFError(f"ended after {data!r}")
        data += piece
    length = header(data, "Content-Length")
    status = int(data.split(b" ")[1])
    body = bytearray()
    if length is not None and not is_head and status != 304:
        while len(body) < int(length):
            piece = sock.recv(min(65536, int(length) - len(body)))
            if not piece:
                raise EOFError(f"{len(body)} of {length} bytes")
            body += piece
    return data, bytes(body)


def header(head: bytes, name: str) -> str | None:
    """A header of an answer."""
    for line in head.decode("latin-1").split("\r\n")[1:]:
        key, _, value = line.partition(": ")
        if key.lower() == name.lower():
            return value
    return None


def status(head: bytes) -> int:
    """The status of an answer."""
    return int(head.split(b" ")[1])


def _tcp_listener(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen(1024)
    return sock
