"""The one way out of the proxy: resolve once, judge every answer, dial exactly one of those addresses.

Between the judgement and the connection nobody resolves again, so a name that changes its answer gains nothing.
"""

import asyncio
import contextlib
import errno
import os
import queue
import socket
import threading
from collections.abc import Callable
from typing import Final

from lbproxy.poller import OUT, Poller
from station.forward.target import Target

RESOLVE_S: Final = 5.0
DIAL_S: Final = 10.0  # in all
_ATTEMPTS_MAX: Final = 4
_ATTEMPT_S: Final = 3.0  # one address, while there is another one
_CACHED_S: Final = 30.0
_FAILURE_CACHED_S: Final = 3.0
_CACHE_ENTRIES_MAX: Final = 2048
# Honest names have a dozen; more are refused rather than judged one by one.
_ADDRESSES_MAX: Final = 64
_THREADS: Final = 8
_WAITING_MAX: Final = 256  # a resolver that is silent must not collect requests without bound
KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))

Judge = Callable[[str], str | None]


class EgressError(Exception):
    """No connection. `status`: what the client is told; `reason`: fixed text."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


Addresses = tuple[str, ...]
Resolved = Callable[[Addresses | EgressError], None]
Dialled = Callable[[socket.socket | EgressError], None]


def lookup(host: str) -> Addresses:
    """Ask the system's resolver; blocks. Raises OSError."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(each[4][0]) for each in found))


class Resolver:
    """Names to addresses, in a few threads of its own, remembered for half a minute."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, ask: Callable[[str], Addresses] = lookup
    ) -> None:
        self._loop, self._ask = loop, ask
        self._asked: queue.SimpleQueue[tuple[str, asyncio.TimerHandle] | None] = queue.SimpleQueue()
        self._threads = 0
        self._known: dict[str, tuple[float, Addresses | EgressError]] = {}
        self._waiting: dict[str, list[Resolved]] = {}

    def resolve(self, host: str, done: Resolved) -> None:
        """Call `done` with the addresses of a name, or why there are none; at once when they are known."""
        known = self._known.get(host)
        if known is not None and known[0] > self._loop.time():
            done(known[1])
            return
        waiting = self._waiting.get(host)
        if waiting is not None:
            waiting.append(done)
            return
        if len(self._waiting) >= _WAITING_MAX:
            done(EgressError(504, "resolver is busy"))
            return
        self._waiting[host] = [done]
        timer = self._loop.call_later(
            RESOLVE_S, self._answer, host, EgressError(504, "resolver does not answer")
        )
        if self._threads < min(_THREADS, len(self._waiting)):
            self._threads += 1
            # A thread that is stuck in the resolver must not keep the process alive.
            threading.Thread(target=self._work, name="resolver", daemon=True).start()
        self._asked.put((host, timer))

    def close(self) -> None:
        """Forget who waits, end the threads."""
        self._waiting.clear()
        for _ in range(self._threads):
            self._asked.put(None)

    def _work(self) -> None:
        while (item := self._asked.get()) is not None:
            host, timer = item
            answer: Addresses | EgressError
            try:
                answer = self._ask(host)
            except (OSError, UnicodeError) as error:
                is_temporary = getattr(error, "errno", None) == socket.EAI_AGAIN
                answer = EgressError(504 if is_temporary else 502, "target cannot be resolved")
            else:
                if not answer or len(answer) > _ADDRESSES_MAX:
                    answer = EgressError(502, "target has no usable addresses")
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(self._late_or_not, host, timer, answer)

    def _late_or_not(
        self, host: str, timer: asyncio.TimerHandle, answer: Addresses | EgressError
    ) -> None:
        timer.cancel()
        self._answer(host, answer)

    def _answer(self, host: str, answer: Addresses | EgressError) -> None:
        while len(self._known) >= _CACHE_ENTRIES_MAX:
            del self._known[next(iter(self._known))]
        self._known.pop(host, None)
        lasts = _FAILURE_CACHED_S if isinstance(answer, EgressError) else _CACHED_S
        self._known[host] = (self._loop.time() + lasts, answer)
        for done in self._waiting.pop(host, ()):
            done(answer)


class Dial:
    """One connection on its way: `done` is called once, with a connected socket or the reason why not."""

    def __init__(
        self,
        poller: Poller,
        resolver: Resolver,
        target: Target,
        judge: Judge | None,
        done: Dialled,
    ) -> None:
        self._poller, self._port, self._judge, self._done = poller, target.port, judge, done
        self._host = target.host
        self._resolver = resolver
        self._addresses: list[str] = []
        self._sock: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._error = EgressError(502, "target cannot be reached")
        self._is_over = False

    def start(self) -> None:
        """Begin; `done` may be called before this returns."""
        if self._is_literal():
            self._resolved((self._host,))
        else:
            self._resolver.resolve(self._host, self._resolved)

    def cancel(self) -> None:
        """Give up; `done` will not be called."""
        self._is_over = True
        self._drop()

    def on_event(self, events: int) -> None:
        assert self._sock is not None
        code = self._sock.connect_ex(self._address)
        if code in (errno.EALREADY, errno.EINPROGRESS):
            return
        if code in (0, errno.EISCONN):
            self._poller.unregister(self._sock.fileno())
            self._connected()
        else:
            self._failed(code)

    def _is_literal(self) -> bool:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            socket.inet_pton(family, self._host)
        except OSError:
            return False
        return True

    def _resolved(self, answer: Addresses | EgressError) -> None:
        if self._is_over:
            return
        if isinstance(answer, EgressError):
            self._finish(answer)
            return
        for address in answer if self._judge else ():
            assert self._judge is not None
            reason = self._judge(address)
            if reason is not None:  # one forbidden answer spoils all: a name in one's own hands
                self._finish(EgressError(403, f"target has a {reason}"))
                return
        self._addresses = list(answer[:_ATTEMPTS_MAX])
        self._ends_at = self._poller.loop.time() + DIAL_S
        self._next()

    def _next(self) -> None:
        left = self._ends_at - self._poller.loop.time()
        if not self._addresses or left <= 0:
            self._finish(self._error)
            return
        host = self._addresses.pop(0)
        self._address = (host, self._port)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            self._finish(EgressError(503, os.strerror(error.errno or 0)))
            return
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE:
            self._sock.setsockopt(socket.IPPROTO_TCP, option, value)
        code = self._sock.connect_ex(self._address)
        if code == errno.EINPROGRESS:
            code = self._sock.connect_ex(self._address)  # near ones are there by now
        if code in (0, errno.EISCONN):
            self._connected()
        elif code == errno.EALREADY:
            self._poller.register(self._sock.fileno(), OUT, self)
            allowed = min(left, _ATTEMPT_S) if self._addresses else left
            self._timer = self._poller.loop.call_later(allowed, self._failed, errno.ETIMEDOUT)
        else:
            self._failed(code)

    def _failed(self, code: int) -> None:
        self._drop()
        if code == errno.ETIMEDOUT:
            self._error = EgressError(504, "target does not answer")
        else:
            self._error = EgressError(502, "target refused the connection")
        self._next()

    def _connected(self) -> None:
        sock, self._sock = self._sock, None
        assert sock is not None
        if self._timer is not None:
            self._timer.cancel()
        if self._judge is not None and sock.getsockname()[0] == self._address[0]:
            sock.close()  # a public address of this very host, whatever it is called
            self._finish(EgressError(403, "target is this station"))
            return
        self._finish(sock)

    def _drop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._sock is not None:
            self._poller.closing(self._sock.fileno())
            self._sock.close()
            self._sock = None

    def _finish(self, result: socket.socket | EgressError) -> None:
        self._is_over = True
        self._done(result)
