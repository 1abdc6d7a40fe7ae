"""The balancer as a process between real clients and real backends."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from station.http.proxy_header import parse

# Answers /health/ready, /name; /drip never ends; anything else is echoed. Argument: port, name.
BACKEND = r"""
import asyncio, os, sys
port, name = int(sys.argv[1]), sys.argv[2]
async def serve(reader, writer):
    try:
        while line := await reader.readline():
            if line.startswith(b"ECHO"):
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
                writer.write(b"bye")
                await writer.drain()
                return
            while (await reader.readline()).strip():
                pass
            path = line.split()[1]
            if path == b"/drip":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + name.encode())
                while True:
                    writer.write(b".")
                    await asyncio.sleep(0.1)
            if path == b"/bulk":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n")
                for i in range(64):
                    writer.write(bytes([i]) * 1048576)
                    await writer.drain()
                continue
            unready = path == b"/health/ready" and os.path.exists(name + ".unready")
            status = b"503 Service Unavailable" if unready else b"200 OK"
            writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(name), name.encode()))
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    print("ready", flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [sock.getsockname()[1] for sock in socks]


def eventually(what: Callable[[], bool], seconds: float) -> float:
    """How long it took until `what` held; fails after `seconds`."""
    start = time.monotonic()
    while not what():
        assert time.monotonic() - start < seconds, "did not come true in time"
        time.sleep(0.02)
    return time.monotonic() - start


class Group:
    """Two backends and the balancer before them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port, self.status_port, *self.backend_ports = free_ports(4)
        self.backends: dict[str, subprocess.Popen[bytes]] = {}
        self.extra = ""
        self.front_extra = ""
        self.balancer: subprocess.Popen[bytes] | None = None

    def start_backend(self, name: str) -> None:
        port = self.backend_ports["AB".index(name)]
        process = subprocess.Popen(
            [sys.executable, "-c", BACKEND, str(port), name],
            stdout=subprocess.PIPE,
            cwd=self.directory,
        )
        assert process.stdout is not None
        with process.stdout as out:
            assert out.readline() == b"ready\n"
        self.backends[name] = process

    def start_balancer(self) -> None:
        file = self.directory / "lbproxy.toml"
        file.write_text(
            f'status = "127.0.0.1:{self.status_port}"\n'
            f'drain_file = "{self.directory / "drain"}"\n{self.extra}\n'
            f'[frontend.http]\nlisten = "127.0.0.1:{self.port}"\n{self.front_extra}\n'
            + "".join(
                f'[[backend]]\nname = "{name}"\naddress = "127.0.0.1"\nports = {{ http = {port} }}\n'
                for name, port in zip("AB", self.backend_ports, strict=True)
            )
        )
        self.balancer = subprocess.Popen([sys.executable, "-m", "lbproxy.cli", "--config", file])

    def page(self) -> dict[str, Any]:
        """What its status page shows. Raises OSError."""
        with socket.create_connection(("127.0.0.1", self.status_port), 2) as sock:
            sock.sendall(b"GET /status.json HTTP/1.1\r\n\r\n")
            answer = b"".join(iter(lambda: sock.recv(65536), b""))
        page: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
        return page

    def states(self) -> dict[str, str]:
        with contextlib.suppress(OSError):
            return {b["name"]: b["state"] for b in self.page()["frontends"][0]["backends"]}
        return {}

    def up(self) -> set[str]:
        return {name for name, state in self.states().items() if state == "up"}

    def client(self, timeout: float = 5) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def name(self) -> str:
        """Which backend answers a new connection; "" when none does."""
        try:
            with self.client() as sock:
                sock.sendall(b"GET /name HTTP/1.1\r\n\r\n")
                return sock.recv(4096).decode()[-1:]
        except OSError:
            return ""

    def stop(self) -> None:
        for process in (*self.backends.values(), self.balancer):
            if process is not None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGCONT)
                    process.kill()
                process.wait(10)


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Group]:
    group = Group(tmp_path)
    try:
        yield group
    finally:
        group.stop()


def start(group: Group) -> None:
    group.start_backend("A")
    group.start_backend("B")
    group.start_balancer()
    eventually(lambda: group.up() == {"A", "B"}, 10)


def read_all(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(1 << 20), b""))


def test_clients_take_turns_over_all_backends(group: Group) -> None:
    start(group)
    assert sorted(group.name() for _ in range(10)) == ["A"] * 5 + ["B"] * 5


def test_half_close_reaches_the_backend_and_its_answer_the_client(group: Group) -> None:
    start(group)
    with group.client() as sock:
        sock.sendall(b"ECHO\nhello ")
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b"hello bye"


def test_bulk_arrives_byte_by_byte_even_at_a_slow_reader(group: Group) -> None:
    start(group)
    with group.client() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.sendall(b"GET /bulk HTTP/1.1\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        time.sleep(0.5)
        head, _, body = read_all(sock).partition(b"\r\n\r\n")
    assert b"67108864" in head
    assert body == b"".join(bytes([i]) * 1048576 for i in range(64))


def test_backend_that_refuses_is_passed_over_before_health_knows(group: Group) -> None:
    start(group)
    group.backends["A"].kill()
    group.backends["A"].wait(10)
    assert [group.name() for _ in range(6)] == ["B"] * 6


def test_killed_backend_ends_its_connections_at_once_and_comes_back(group: Group) -> None:
    start(group)
    socks = [group.client() for _ in range(20)]
    try:
        for sock in socks:
            sock.sendall(b"GET /drip HTTP/1.1\r\n\r\n")
        names = [sock.recv(4096).partition(b"\r\n\r\n")[2][:1] or sock.recv(1) for sock in socks]
        assert set(names) == {b"A", b"B"}
        group.backends["A"].kill()
        begin = time.monotonic()
        for sock, name in zip(socks, names, strict=True):
            if name == b"A":
                with contextlib.suppress(ConnectionResetError):
                    read_all(sock)
        assert time.monotonic() - begin < 1.0
        assert all(sock.recv(4096) for sock, name in zip(socks, names, strict=True) if name == b"B")
    finally:
        for sock in socks:
            sock.close()
    group.backends["A"].wait(10)
    group.start_backend("A")
    eventually(lambda: group.up() == {"A", "B"}, 4)


def test_what_a_backend_sent_before_its_end_arrives_though_it_refuses_by_now(group: Group) -> None:
    sent: list[int] = []

    def answer_and_end(server: socket.socket) -> None:
        """Healthy until a client comes; it gets as much as the kernel takes, and everything is closed."""
        while not sent:
            conn, _ = server.accept()
            with conn:
                if conn.recv(4096).startswith(b"GET /health"):
                    conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    continue
                server.close()
                conn.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        sent.append(conn.send(bytes(65536)))

    with socket.create_server(("127.0.0.1", group.backend_ports[0])) as server:
        thread = threading.Thread(target=answer_and_end, args=(server,), daemon=True)
        thread.start()
        group.start_balancer()
        eventually(lambda: group.up() == {"A"}, 10)
        with group.client(10) as sock:
            sock.sendall(b"GET /bulk HTTP/1.1\r\n\r\n")
            thread.join(10)
            eventually(lambda: group.states()["A"] == "dead", 5)
            assert len(read_all(sock)) == sum(sent)


def test_stopped_backend_is_seen_within_two_seconds_and_its_connections_are_cut(
    group: Group,
) -> None:
    start(group)
    socks = [group.client() for _ in range(2)]
    try:
        for sock in socks:
            sock.sendall(b"GET /name HTTP/1.1\r\n\r\n")
        on_a = next(sock for sock in socks if sock.recv(4096).endswith(b"A"))
        os.kill(group.backends["A"].pid, signal.SIGSTOP)
        begin = time.monotonic()
        on_a.sendall(b"GET /name HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert on_a.recv(4096) == b""
        assert time.monotonic() - begin < 2.2  # two seconds, and what a loaded machine adds
        assert group.states()["A"] == "dead"
        assert [group.name() for _ in range(4)] == ["B"] * 4
    finally:
        for sock in socks:
            sock.close()
    os.kill(group.backends["A"].pid, signal.SIGCONT)
    eventually(lambda: group.up() == {"A", "B"}, 4)


def test_backend_that_is_not_ready_keeps_its_connections_and_gets_no_new_ones(
    group: Group, tmp_path: Path
) -> None:
    start(group)
    socks = [group.client() for _ in range(2)]
    try:
        for sock in socks:
            sock.sendall(b"GET /name HTTP/1.1\r\n\r\n")
        on_a = next(sock for sock in socks if sock.recv(4096).endswith(b"A"))
        (tmp_path / "A.unready").touch()
        eventually(lambda: group.states()["A"] == "down", 4)
        assert [group.name() for _ in range(4)] == ["B"] * 4
        on_a.sendall(b"GET /name HTTP/1.1\r\n\r\n")
        assert on_a.recv(4096).endswith(b"A")
    finally:
        for sock in socks:
            sock.close()


def test_drain_file_takes_a_backend_out_and_puts_it_back(group: Group, tmp_path: Path) -> None:
    start(group)
    (tmp_path / "drain").write_text("B\n")
    eventually(lambda: group.states()["B"] == "draining", 4)
    assert [group.name() for _ in range(4)] == ["A"] * 4
    (tmp_path / "drain").unlink()
    eventually(lambda: group.up() == {"A", "B"}, 4)


def test_without_backends_clients_are_refused_at_once_and_the_balancer_does_not_spin(
    group: Group,
) -> None:
    start(group)
    for process in group.backends.values():
        process.kill()
        process.wait(10)
    eventually(lambda: group.up() == set(), 4)
    begin = time.monotonic()
    assert group.name() == ""
    assert time.monotonic() - begin < 0.5
    assert group.balancer is not None
    before = cpu_s(group.balancer.pid)
    time.sleep(2)
    assert cpu_s(group.balancer.pid) - before < 0.3  # 15 % of a core at most, checks included
    group.start_backend("A")
    eventually(lambda: group.name() == "A", 4)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_beyond_the_cap_clients_wait_and_are_served_later(group: Group) -> None:
    group.extra = "max_connections = 2"
    start(group)
    first, second = group.client(), group.client()
    with first, second, group.client() as third:
        for sock in (first, second, third):
            sock.sendall(b"GET /name HTTP/1.1\r\n\r\n")
        assert first.recv(4096) and second.recv(4096)
        third.settimeout(0.5)
        with pytest.raises(TimeoutError):
            third.recv(4096)
        first.close()
        third.settimeout(5)
        assert third.recv(4096)


def test_idle_connection_is_closed(group: Group) -> None:
    group.extra = "idle_s = 1"
    start(group)
    with group.client() as sock:
        assert sock.recv(1) == b""


def test_backend_learns_the_clients_address_by_proxy_header(group: Group) -> None:
    group.front_extra = "send_proxy = true"
    heard: list[bytes] = []
    with contextlib.ExitStack() as stack:
        for port in group.backend_ports:
            server = stack.enter_context(socket.create_server(("127.0.0.1", port)))
            threading.Thread(target=listen_and_be_ready, args=(server, heard), daemon=True).start()
        group.start_balancer()
        eventually(lambda: group.up() == {"A", "B"}, 10)
        with group.client() as client:
            client.sendall(b"hello\r\n\r\n")
            mine = client.getsockname()
            assert client.recv(100)
        for port in group.backend_ports:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as end:
                end.sendall(b"end")
    said = [data for data in heard if data.endswith(b"hello\r\n\r\n")]
    header = parse(said[0])
    assert header is not None and len(said) == 1
    assert header.source == mine
    assert header.destination == ("127.0.0.1", group.port)
    assert said[0][header.size :] == b"hello\r\n\r\n"
    checks = [parse(data) for data in heard if b"/health/ready" in data]
    assert checks and all(check and check.is_local for check in checks)


def listen_and_be_ready(server: socket.socket, heard: list[bytes]) -> None:
    """Answer 200 to whatever ends with an empty line; end with the first that says so."""
    while True:
        conn, _ = server.accept()
        with conn:
            data = conn.recv(4096)
            while data[12:].find(b"\r\n\r\n") < 0 and not data.startswith(b"end"):
                piece = conn.recv(4096)
                if not piece:
                    break
                data += piece
            heard.append(data)
            if data.startswith(b"end"):
                return
            with contextlib.suppress(OSError):
                conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def test_soft_end_lets_connections_finish(group: Group) -> None:
    start(group)
    assert group.balancer is not None
    with group.client() as sock:
        sock.sendall(b"GET /name HTTP/1.1\r\n\r\n")
        assert sock.recv(4096)
        group.balancer.send_signal(signal.SIGUSR1)
        eventually(lambda: group.name() == "", 4)
        sock.sendall(b"GET /name HTTP/1.1\r\n\r\n")
        assert sock.recv(4096)
    assert group.balancer.wait(5) == 0


def test_bad_configuration_ends_with_2_and_names_every_problem(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text('colour = 1\n[frontend.http]\nlisten = "here"\npolicy = "best"\n')
    process = subprocess.run(
        [sys.executable, "-m", "lbproxy.cli", "--check", "--config", file],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert process.returncode == 2
    for key in ("colour", "frontend.http.listen", "frontend.http.policy", "backend"):
        assert key in process.stderr
