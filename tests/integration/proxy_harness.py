"""Runs a proxy worker as a process, with targets, an outer proxy, files workers and control played on loopback."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from station.http.proxy_header import parse
from station.model.snapshot import MemberView, Snapshot, to_wire
from station.runtime.frames import FrameReader, encode_frame


def read_all(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(1 << 20), b""))


def read_head(sock: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte:
            break
        data += byte
    return data


class Origin:
    """A listening socket that hands each connection to `serve` in a thread."""

    def __init__(
        self,
        serve: Callable[[socket.socket], None],
        path: Path | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        if path is None:
            self.sock = socket.create_server((host, 0))
        else:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.bind(str(path))
            self.sock.listen()
        self.port = 0 if path else self.sock.getsockname()[1]
        self.accepted = 0
        self._serve = serve
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                conn, _ = self.sock.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._one, args=(conn,), daemon=True).start()

    def _one(self, conn: socket.socket) -> None:
        conn.settimeout(20)
        with conn, contextlib.suppress(OSError):
            self._serve(conn)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        self._thread.join(5)


def echo(conn: socket.socket) -> None:
    while data := conn.recv(65536):
        conn.sendall(data)
    conn.sendall(b"bye")


def http(conn: socket.socket) -> None:
    """Answers with the head it got, and wants to keep the connection."""
    head = read_head(conn)
    conn.sendall(
        b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=60\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(head), head)
    )
    conn.recv(1)


def files(conn: socket.socket) -> None:
    """Plays the files worker: says what the PROXY header told, then echoes."""
    data = conn.recv(4096)
    header = parse(data)
    assert header is not None and header.source is not None
    conn.sendall(
        f"HTTP/1.1 200 OK\r\nX-Listener: {header.listener()}\r\nX-Client: {header.source[0]}\r\n\r\n".encode()
        + data[header.size :]
    )


class Proxy:
    """A proxy worker and its sockets."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None
        self._stack = contextlib.ExitStack()
        self._stack.callback(self.listener.close)
        self.control: Control | None = None

    def origin(self, serve: Callable[[socket.socket], None], path: Path | None = None) -> Origin:
        origin = Origin(serve, path)
        self._stack.callback(origin.close)
        return origin

    def start(
        self,
        *destinations: str,
        snapshot: Snapshot | None = None,
        command: tuple[str, ...] = (),
        **settings: Any,
    ) -> None:
        run = self.directory
        if snapshot is not None:
            self.control = Control(run / "feed.sock", snapshot)
            self._stack.callback(self.control.close)
        self.origin(files, run / "files.sock")
        wanted = {
            "name": "proxy-0",
            "feed": str(run / "feed.sock"),
            "files": str(run / "files.sock"),
            "listeners": [{"fd": self.listener.fileno(), "kind": "proxy"}],
            "balancers": [],
            "hosts": ["127.0.0.0/8"],
            "destinations": list(destinations),
            "forward": "",
        } | settings
        self.log = (run / "log").open("w+b")
        self._stack.callback(self.log.close)
        self.process = subprocess.Popen(
            [*command, sys.executable, "-m", "station.serve.proxy_worker"],
            env=os.environ | {"STATION_SETTINGS": json.dumps(wanted)},
            pass_fds=(self.listener.fileno(),),
            stderr=self.log,
        )

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 15, (source, 0))

    def ask(self, request: bytes, source: str = "127.0.0.1") -> bytes:
        with self.connect(source) as sock:
            sock.sendall(request)
            return read_all(sock)

    def status(self, request: bytes) -> int:
        answer = self.ask(request)
        return int(answer.split(b" ", 2)[1]) if answer else 0

    def tunnel(self, target: str, early: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
        sock = self.connect(source)
        sock.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode() + early)
        head = read_head(sock)
        assert b" 200 " in head, head
        return sock

    def log_text(self) -> str:
        self.log.seek(0)
        return self.log.read().decode()

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
        self._stack.close()


class Control:
    """The other end of the feed: sends one snapshot to whoever comes, and keeps what is counted."""

    def __init__(self, path: Path, snapshot: Snapshot) -> None:
        self.conns: list[socket.socket] = []
        self.counters: dict[str, int] = {}  # the newest that the worker told
        self._snapshot = snapshot
        self._origin = Origin(self._serve, path)

    def _serve(self, conn: socket.socket) -> None:
        self.conns.append(conn)
        self.send(self._snapshot)
        frames = FrameReader()
        while data := conn.recv(65536):
            for frame in frames.feed(data):
                self.counters |= frame.get("counters", {})

    def send(self, snapshot: Snapshot) -> None:
        frame = {"snapshot": to_wire(snapshot), "beat": time.clock_gettime(time.CLOCK_BOOTTIME)}
        for conn in self.conns:
            conn.sendall(encode_frame(frame))

    def close(self) -> None:
        for conn in self.conns:
            with contextlib.suppress(OSError):
                conn.shutdown(socket.SHUT_RDWR)
        self._origin.close()


def eventually(what: Callable[[], bool], seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "did not come true in time"
        time.sleep(0.05)


def snapshot(**fields: Any) -> Snapshot:
    known: dict[str, Any] = {
        "number": 1,
        "is_ready": True,
        "reason": "",
        "station": "A",
        "hostname": "lb.example",
        "members": (MemberView("A", "192.0.2.11"),),
        "proxy_hosts": ("127.0.0.0/8",),
    }
    return Snapshot(**(known | fields))


def connect(target: str, fields: str = "") -> bytes:
    return f"CONNECT {target} HTTP/1.1\r\n{fields}\r\n".encode()
