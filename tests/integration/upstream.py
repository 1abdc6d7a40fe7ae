"""A hostile upstream for tests: a threaded HTTP/1.1 server of a directory, with fault rules and a request log.

    with Upstream(repository.root) as upstream:
        upstream.fault(r"primary", "status", 503, times=1)
        … upstream.url …
        upstream.requests(r"\\.rpm$")

It answers like a plain nginx: keep-alive, HEAD, single ranges, strong ETag, Last-Modified, conditionals.
"""

import contextlib
import email.utils
import hashlib
import os
import re
import socket
import ssl
import struct
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import unquote, urlsplit

from tests.integration.certificates import Certificate

IDLE_TIMEOUT_S = 60.0  # a connection that says nothing is closed; no test is longer

Fault = Literal[
    "status",  # argument: the status; 503 and 429 carry Retry-After: 1
    "truncate",  # full Content-Length, closed after N bytes
    "short",  # a well-formed but shorter 200 of N bytes
    "long",  # a well-formed 200 with N more bytes than the file has
    "chunked",  # no Content-Length; with an argument, endless pieces of that many bytes
    "corrupt",  # right length, the byte in the middle flipped
    "hang",  # N bytes of the body, then silence
    "drip",  # the body at N bytes per second
    "delay",  # N seconds before the answer
    "reset",  # N bytes of the body, then RST; -1: before any answer
    "redirect",  # 302 to this URL + path; "loop": to itself
    "login",  # 200 text/html, as a captive portal answers
    "body",  # 200 with these bytes instead of the file
    "norange",  # Range is ignored
    "call",  # argument is called (no parameters) before the answer, e.g. to change the repository
]


@dataclass
class Rule:
    """One fault for paths that `pattern` finds; active after `skip` requests, `times` times (None: for ever)."""

    pattern: re.Pattern[str]
    kind: Fault
    argument: Any
    times: int | None
    skip: int

    def is_due(self, path: str) -> bool:
        """Whether this request gets the fault; counts it."""
        if not self.pattern.search(path) or self.times == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass
class Request:
    """One request as it arrived, and the status that it got (0: none yet). `sent` is bytes of body so far."""

    method: str
    path: str
    headers: dict[str, str]
    status: int
    sent: int


class Upstream:
    """The server. Serves `root`; `swap` changes to another directory between two requests."""

    def __init__(
        self,
        root: Path,
        *,
        tls: bool = False,
        host: str = "127.0.0.1",
        client_ca: Path | None = None,  # with tls: clients must show a certificate of this CA
    ) -> None:
        self.root = root
        self._client_ca = client_ca
        self._host, self._tls = host, tls
        self._scratch = tempfile.TemporaryDirectory()
        self.certificate = Certificate.make(Path(self._scratch.name)) if tls else None
        self._rules: list[Rule] = []
        self._log: list[Request] = []
        self.lock = threading.Lock()
        self.stopping = threading.Event()

    def __enter__(self) -> Self:
        context = None
        if self.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate.chain, self.certificate.key)
            if self._client_ca:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(self._client_ca)
        self._server = _Server(self, self._host, context)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="upstream"
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.end_connections()
        self._server.server_close()
        self._thread.join(10)
        self._scratch.cleanup()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Its root, with a slash at the end."""
        return f"http{'s' if self._tls else ''}://{self._host}:{self.port}/"

    @property
    def ca(self) -> Path:
        """The CA file a client has to trust (https only)."""
        assert self.certificate, "this upstream speaks plain http"
        return self.certificate.ca

    def fault(
        self,
        pattern: str,
        kind: Fault,
        argument: Any = 0,
        *,
        times: int | None = None,
        skip: int = 0,
    ) -> None:
        """From now on answer paths that `pattern` finds with this fault; the first rule that is due decides."""
        with self.lock:
            self._rules.append(Rule(re.compile(pattern), kind, argument, times, skip))

    def heal(self) -> None:
        """Forget all rules."""
        with self.lock:
            self._rules.clear()

    def swap(self, root: Path) -> None:
        """Serve another directory from the next request on."""
        with self.lock:
            self.root = root

    def requests(self, pattern: str = "") -> list[Request]:
        """The requests whose path `pattern` finds, in the order of their arrival."""
        with self.lock:
            return [request for request in self._log if re.search(pattern, request.path)]

    def forget(self) -> None:
        """Empty the log."""
        with self.lock:
            self._log.clear()

    def due(self, path: str) -> Rule | None:
        """The rule for this request."""
        with self.lock:
            return next((rule for rule in self._rules if rule.is_due(path)), None)

    def record(self, request: Request) -> None:
        """Note a request, before it is answered: whoever has the answer finds it in the log."""
        with self.lock:
            self._log.append(request)


class _Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = False  # server_close waits for them: no thread outlives the test

    def __init__(self, upstream: Upstream, host: str, context: ssl.SSLContext | None) -> None:
        self.upstream = upstream
        self._context = context
        self._connections: set[socket.socket] = set()
        super().__init__((host, 0), _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(IDLE_TIMEOUT_S)
        if self._context:
            request = self._context.wrap_socket(request, server_side=True)
        with self.upstream.lock:
            self._connections.add(request)
        try:
            super().finish_request(request, client_address)
        finally:
            with self.upstream.lock:
                self._connections.discard(request)
            self.shutdown_request(request)

    def end_connections(self) -> None:
        """Wake every thread that reads or writes."""
        with self.upstream.lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):  # it was closed already
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)  # below TLS

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


@dataclass
class _Answer:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    length: int | None = None  # of Content-Length, when it is a lie
    chunked: bool = False
    endless: bytes = b""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        upstream = self.server.upstream
        headers = {key.lower(): value for key, value in self.headers.items()}
        self._request = Request(self.command, self.path, headers, 0, 0)
        upstream.record(self._request)
        rule = upstream.due(self.path)
        if rule and rule.kind == "call":
            rule.argument()
        if rule and rule.kind == "reset" and rule.argument < 0:
            self._reset()
            return
        if rule and rule.kind == "delay":
            upstream.stopping.wait(rule.argument)
        answer = self._plain(ignore_range=bool(rule and rule.kind == "norange"))
        if rule:
            answer = self._spoilt(answer, rule)
        self._request.status = answer.status
        self._send(answer, rule)

    do_HEAD = do_GET

    def _plain(self, *, ignore_range: bool) -> _Answer:
        root = self.server.upstream.root.resolve()
        path = (root / unquote(urlsplit(self.path).path).lstrip("/")).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            return _Answer(404, {"Content-Type": "text/plain"}, b"not here\n")
        body = path.read_bytes()
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        modified = email.utils.formatdate(int(path.stat().st_mtime), usegmt=True)
        headers = {"ETag": etag, "Last-Modified": modified, "Accept-Ranges": "bytes"}
        if self.headers.get("If-None-Match") == etag:
            return _Answer(304, headers)
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not found or ignore_range or self.headers.get("If-Range", etag) not in (etag, modified):
            return _Answer(200, headers, body)
        start, end = int(found[1]), min(int(found[2] or len(body) - 1), len(body) - 1)
        if start >= len(body):
            return _Answer(416, headers | {"Content-Range": f"bytes */{len(body)}"})
        headers["Content-Range"] = f"bytes {start}-{end}/{len(body)}"
        return _Answer(206, headers, body[start : end + 1])

    def _spoilt(self, answer: _Answer, rule: Rule) -> _Answer:
        argument, body = rule.argument, answer.body
        match rule.kind:
            case "status":
                retry = {"Retry-After": "1"} if argument in (429, 503) else {}
                return _Answer(argument, retry, b"" if argument == 304 else b"no\n")
            case "truncate":
                answer.length, answer.body = len(body), body[:argument]
            case "short":
                answer.body = body[:argument]
            case "long":
                answer.body = body + b"x" * argument
            case "corrupt" if body:
                middle = len(body) // 2
                answer.body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
            case "chunked":
                answer.chunked, answer.endless = True, b"x" * argument
            case "redirect":
                target = self.path if argument == "loop" else argument.rstrip("/") + self.path
                return _Answer(302, {"Location": target})
            case "login":
                return _Answer(200, {"Content-Type": "text/html"}, b"<html>Please log in</html>\n")
            case "body":
                return _Answer(200, {}, argument)
        return answer

    def _send(self, answer: _Answer, rule: Rule | None) -> None:
        self.send_response(answer.status)
        for key, value in answer.headers.items():
            self.send_header(key, value)
        if answer.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif answer.status != 304:
            length = len(answer.body) if answer.length is None else answer.length
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command == "HEAD" or answer.status == 304:
            return
        if answer.chunked:
            self._send_chunks(answer)
        elif rule and rule.kind in ("hang", "reset"):
            self._write(answer.body[: rule.argument])
            if rule.kind == "reset":
                self._reset()
            self.server.upstream.stopping.wait(IDLE_TIMEOUT_S)
            self.close_connection = True
        elif rule and rule.kind == "drip":
            self._drip(answer.body, rule.argument)
        else:
            self._write(answer.body)
            if rule and rule.kind == "truncate":
                self.close_connection = True

    def _send_chunks(self, answer: _Answer) -> None:
        pieces = [answer.body] if answer.body else []
        for piece in pieces:
            self._write(b"%x\r\n%s\r\n" % (len(piece), piece))
        while answer.endless and not self.server.upstream.stopping.is_set():
            self._write(b"%x\r\n%s\r\n" % (len(answer.endless), answer.endless))
        self._write(b"0\r\n\r\n")

    def _drip(self, body: bytes, bytes_per_s: int) -> None:
        step = max(1, bytes_per_s // 10)
        for start in range(0, len(body), step):
            self._write(body[start : start + step])
            if self.server.upstream.stopping.wait(step / bytes_per_s):
                break

    def _write(self, data: bytes) -> None:
        self._request.sent += len(data)
        self.wfile.write(data)
        self.wfile.flush()

    def _reset(self) -> None:
        # Linger 0 turns close into RST. The last descriptor must go, so the file objects are closed first.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, self.connection.fileno())
        os.close(null)
