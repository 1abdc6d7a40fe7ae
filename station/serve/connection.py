"""One client's connection: reads heads, has them answered in order, sends. Callbacks, no task per connection."""

import asyncio
import contextlib
import socket
import ssl
import struct

from station.http.answer import error_answer
from station.http.head import Refusal, Request, find_end, parse_head
from station.runtime.clock import system_clock
from station.runtime.lines import line
from station.serve.memo import Memo
from station.serve.relay import Relay
from station.serve.reply import Client, Complete, Drop, FromFile, FromFill, Hold, ToControl
from station.serve.shared import Shared, boot
from station.serve.transfer import (
    BytesTransfer,
    FileTransfer,
    FillTransfer,
    Progress,
    Socket,
    Transfer,
    send,
)

RECEIVE_BYTES = 8192
REQUESTS_PER_EVENT = 32  # of one pipelining client, before the others have their turn
FILL_POLL_S = 0.05
LINGER_BYTES_MAX = 256 * 1024
_RESET = struct.pack("ii", 1, 0)
_clock = system_clock()


class Connection:
    """`address` is what the per-address cap counts, None where there is none."""

    __slots__ = (
        "_arrived", "_buffer", "_client", "_close_after", "_fd", "_head", "_is_admitted", "_is_reading",
        "_is_writing", "_lingered", "_mark", "_memo", "_recv", "_relay", "_request", "_send", "_sent", "_served",
        "_shared", "_sock", "_timer", "_transfer", "address", "deadline", "limit", "slot",
    )  # fmt: skip

    def __init__(
        self, shared: Shared, sock: Socket, client: Client, address: str | None, memo: Memo | None
    ) -> None:
        self._shared, self._sock, self._client, self.address = shared, sock, client, address
        self._memo = memo or Memo(shared.world, shared.limits)
        self._recv = sock.recv
        self._send = sock.send
        self._fd = sock.fileno()
        self._buffer = bytearray()
        self._head = b""
        self._request: Request | None = None
        self._arrived = 0.0
        self._transfer: Transfer | None = None
        self._relay: Relay | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._close_after = False
        self._is_reading = self._is_writing = False
        self._served = self._sent = self._mark = self._lingered = 0
        self.deadline, self.limit, self.slot = 0.0, "", 0
        shared.connections.add(self)
        self._is_admitted = shared.guard.admit(address)
        shared.guard.watch(self, shared.limits.head_s, "head")

    @property
    def is_idle(self) -> bool:
        """Between two requests."""
        return self._request is None and self._transfer is None and not self._buffer

    @property
    def sock(self) -> Socket:
        """The socket, for the relay."""
        return self._sock

    def readable(self) -> None:
        """Bytes arrived, or may have."""
        try:
            data = self._recv(RECEIVE_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            if not self._is_reading:
                self._read()
            return
        except OSError:
            self.close()
            return
        memo = self._memo
        if not self._buffer:
            answer = memo.answers.get(data)
            if answer is not None and boot() < memo.valid_until and self._is_admitted:
                self._served += 1
                try:
                    sent = self._send(answer)
                except (BlockingIOError, ssl.SSLWantWriteError):
                    sent = 0
                except OSError:
                    self.close()
                    return
                memo.hits += 1
                memo.hit_bytes += sent
                if sent != len(answer):
                    self._start(BytesTransfer(memoryview(answer)[sent:]))
                    return
                self.deadline = self._shared.guard.now + self._shared.limits.idle_s
                self.limit = "idle"
                if not self._is_reading:
                    self._read()
                return
        if not data:
            self.close()
            return
        if self.limit == "linger":
            self._lingered += len(data)
            if self._lingered > LINGER_BYTES_MAX:
                self.close()
            return
        self._buffer += data
        self._advance()

    def _advance(self) -> None:
        """Answer the requests in the buffer, in order, while nothing is in the way."""
        for _ in range(REQUESTS_PER_EVENT):
            if (
                self._fd < 0
                or self._request is not None
                or self._transfer is not None
                or self._relay
            ):
                return
            buffer = self._buffer
            while buffer[:2] == b"\r\n":  # RFC 9112, 2.2: an empty line before a request is ignored
                del buffer[:2]
            end = find_end(buffer)
            if end is None:
                if self._is_tls_pending():
                    self._shared.loop.call_soon(self.readable)
                elif not self._is_reading:
                    self._read()
                if buffer and self.limit != "head":
                    self._shared.guard.watch(self, self._shared.limits.head_s, "head")
                return
            if isinstance(end, Refusal):
                self._refuse(end)
                return
            self._head = bytes(buffer[:end])
            del buffer[:end]
            self._take_head()
        self._shared.loop.call_soon(self._advance)

    def _take_head(self) -> None:
        request = parse_head(self._head)
        if isinstance(request, Refusal):
            self._refuse(request)
            return
        self._request = request
        self._served += 1
        shared = self._shared
        self._arrived = boot()
        if not self._is_admitted and not shared.router.is_health(request):
            shared.guard.watch(self, shared.limits.waiting_s, "waiting")
            self._pause_reading()
            shared.guard.wait(self)
            return
        self._ask()

    def let_in(self) -> bool:
        """The guard has room for this connection now."""
        if self._fd < 0 or self._is_admitted:
            return False
        self._is_admitted = True
        self._shared.loop.call_soon(self.ask_again)
        return True

    def ask_again(self) -> None:
        """A held request may have its answer now."""
        if self._request is not None and self._fd >= 0:
            self._ask()
            self._advance()

    def _ask(self) -> None:
        shared, request = self._shared, self._request
        assert request is not None
        asked_at = boot()
        reply = shared.router.answer(request, self._client, self._arrived)
        if isinstance(reply, Hold):
            self._hold(reply)
            return
        self._release()
        self._request = None
        if isinstance(reply, Drop):
            shared.counters.hit(reply.why)
            self.abort()
        elif isinstance(reply, ToControl):
            self._to_control(request)
        else:
            shared.counters.add(f"requests_{self._client.listener}_{reply.status}")
            self._close_after = reply.close or self._served >= shared.limits.requests
            if isinstance(reply, Complete):
                self._answer(reply, asked_at)
            elif isinstance(reply, FromFile):
                end = reply.offset + reply.length
                self._start(FileTransfer(reply.head, reply.fd, reply.offset, end))
            else:
                self._start_fill(reply)

    def _answer(self, reply: Complete, asked_at: float) -> None:
        if reply.is_lasting and not self._close_after:
            self._memo.put(self._head, reply.data, asked_at)
        if reply.status >= 400 and self._request is None:
            self._buffer.clear()
        try:
            sent = send(self._sock, reply.data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        self._sent += sent
        self._shared.counters.add(f"bytes_{self._client.listener}", sent)
        if sent == len(reply.data):
            self._answered()
        else:
            self._start(BytesTransfer(memoryview(reply.data)[sent:]))

    def _answered(self) -> None:
        if self._close_after:
            self._end()
            return
        self._shared.guard.watch(self, self._shared.limits.idle_s, "idle")

    def _start(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self._mark = self._sent
        limits = self._shared.limits
        self._shared.guard.watch(self, limits.rate_s, "minimum_rate")
        self._pump()

    def _start_fill(self, reply: FromFill) -> None:
        transfer = FillTransfer(
            reply.head, reply.fill, reply.fd, reply.offset, reply.end, reply.size
        )
        reply.fill.watchers.append(self._pump)
        self._start(transfer)

    def _pump(self) -> None:
        """Send some more of what is under way."""
        transfer = self._transfer
        if transfer is None:
            return
        before = transfer.sent
        try:
            progress = transfer.step(self._sock)
        except BlockingIOError:
            progress = Progress.MORE
        except OSError as error:
            if isinstance(transfer, FillTransfer):
                line("warning", "fill.broken", error=str(error))
            self.abort()
            return
        finally:
            gained = transfer.sent - before
            self._sent += gained
            self._shared.counters.add(f"bytes_{self._client.listener}", gained)
        if progress is Progress.MORE:
            self._pause_reading()
            if not self._is_writing:
                self._is_writing = True
                self._shared.loop.add_writer(self._fd, self._pump)
            return
        self._stop_writing()
        if progress is Progress.STARVED:
            self._pause_reading()
            if gained or self.limit != "fill_stall":
                self._shared.guard.watch(self, self._shared.limits.fill_stall_s, "fill_stall")
            if self._timer is None or self._timer.when() <= self._shared.loop.time():
                self._timer = self._shared.loop.call_later(FILL_POLL_S, self._pump)
            return
        self._drop_transfer()
        self._answered()
        if self._fd >= 0:
            self._shared.loop.call_soon(self._resume)

    def _resume(self) -> None:
        if self._fd >= 0:
            self._advance()

    def _drop_transfer(self) -> None:
        transfer, self._transfer = self._transfer, None
        if transfer is not None:
            transfer.close()
            if isinstance(transfer, FillTransfer) and self._pump in transfer.fill.watchers:
                transfer.fill.watchers.remove(self._pump)

    def _hold(self, reply: Hold) -> None:
        shared = self._shared
        if self not in shared.held:
            if len(shared.held) >= shared.limits.held:
                shared.counters.hit("held")
                self.abort()
                return
            shared.held.add(self)
            shared.counters.add(f"held_{reply.why}")
        self.deadline = 0.0
        self._pause_reading()
        if self._timer is not None:
            self._timer.cancel()
        # A little later than asked, so that the clock has passed the edge when we look again.
        delay = max(0.0, reply.until - boot()) + 0.001
        self._timer = shared.loop.call_later(delay, self.ask_again)

    def _release(self) -> None:
        self._shared.held.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _to_control(self, request: Request) -> None:
        shared = self._shared
        if shared.relays >= shared.limits.relays:
            shared.counters.hit("relays")
            self._refuse(Refusal(503, "too many requests at one time"))
            return
        self._pause_reading()
        shared.counters.add("relayed")
        first = self._head + bytes(self._buffer)
        self._buffer.clear()
        self._relay = Relay(shared, self, self._client, first)
        self._relay.start()

    def _refuse(self, refusal: Refusal) -> None:
        """Say why, once; then nothing on this connection can be trusted."""
        shared = self._shared
        shared.counters.add("refused")
        shared.counters.add(f"requests_{self._client.listener}_{refusal.status}")
        self._buffer.clear()
        data = error_answer(refusal.status, refusal.reason, date=int(_clock.wall()))
        try:
            send(self._sock, data)
        except OSError:  # full or gone: an error is not worth a wait
            self.close()
            return
        self._linger()

    def _linger(self) -> None:
        """Our last word was said; read what was under way, so that no reset overtakes it."""
        try:
            self._sock.shutdown(socket.SHUT_WR) if not self._is_tls() else self._say_goodbye()
        except OSError:
            self.close()
            return
        self._shared.guard.watch(self, self._shared.limits.linger_s, "linger")
        self._request = None
        if not self._is_reading:
            self._read()

    def _end(self) -> None:
        if self._buffer or (self._request is None and self._served == 0):
            self._linger()
        else:
            self.close()

    def expire(self, limit: str) -> None:
        """See Guarded."""
        if limit == "minimum_rate":
            limits = self._shared.limits
            if self._sent - self._mark >= limits.rate_bytes * limits.rate_s:
                self._mark = self._sent
                self._shared.guard.watch(self, limits.rate_s, limit)
                return
        if limit not in ("idle", "linger"):
            self._shared.counters.hit(limit)
        if limit in ("minimum_rate", "fill_stall"):
            self.abort()
        else:
            self.close()

    def abort(self) -> None:
        """Reset the connection: the client must not take what it has for the whole."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.close(is_polite=False)

    def close(self, *, is_polite: bool = True) -> None:
        """Give back everything. May be called more than once."""
        if self._fd < 0:
            return
        shared = self._shared
        self._release()
        self._stop_writing()
        self._pause_reading()
        self._fd = -1
        self._drop_transfer()
        relay, self._relay = self._relay, None
        if relay is not None:
            relay.close()
        self.deadline = 0.0
        self._request = None
        shared.connections.discard(self)
        if is_polite and self._is_tls():
            with contextlib.suppress(OSError, ValueError):
                self._say_goodbye()
        self._sock.close()
        shared.guard.leave(self.address, was_admitted=self._is_admitted)

    def _say_goodbye(self) -> None:
        """close_notify, without waiting for the other side's."""
        assert isinstance(self._sock, ssl.SSLSocket)
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self._sock.unwrap()

    def _is_tls(self) -> bool:
        return isinstance(self._sock, ssl.SSLSocket)

    def _is_tls_pending(self) -> bool:
        """Decrypted bytes in OpenSSL's buffer raise no event."""
        return isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0

    def _read(self) -> None:
        self._is_reading = True
        self._shared.loop.add_reader(self._fd, self.readable)

    def _pause_reading(self) -> None:
        if self._is_reading:
            self._is_reading = False
            self._shared.loop.remove_reader(self._fd)

    def _stop_writing(self) -> None:
        if self._is_writing:
            self._is_writing = False
            self._shared.loop.remove_writer(self._fd)
