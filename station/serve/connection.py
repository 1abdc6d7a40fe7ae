"""One client's connection: has its requests answered in order. Callbacks, no task per connection."""

import os
import socket
import ssl
from dataclasses import replace
from typing import Any

from station.http.answer import text_answer
from station.http.head import Refusal, Request
from station.runtime.clock import system_clock
from station.serve.asks import check_in
from station.serve.memo import Memo
from station.serve.reader import RECEIVE_BYTES, Reader
from station.serve.relay import Relay
from station.serve.reply import Client, Complete, Drop, FromFile, Hold, ToControl
from station.serve.shared import Shared, boot
from station.serve.transfer import BytesTransfer, Socket, send

_RESET_LIMITS = frozenset({"minimum_rate", "fill_stall"})  # an answer was under way
_clock = system_clock()


class Connection(Reader):
    """`address` is what the per-address cap counts, None where there is none."""

    __slots__ = (
        "_answering", "_arrived", "_close_after", "_is_admitted", "_memo", "_send", "_served", "address",
    )  # fmt: skip

    def __init__(
        self, shared: Shared, sock: Socket, client: Client, address: str | None, memo: Memo
    ) -> None:
        super().__init__(shared, sock, client)
        self.address, self._memo = address, memo
        self._send = sock.send
        self._answering: tuple[Request, int, int] | None = None  # for the access log
        self._arrived = 0.0
        self._close_after = False
        self._served = 0
        shared.connections.add(self)
        self._is_admitted = shared.guard.admit(address)
        shared.guard.watch(self, shared.limits.head_s, "head")

    def begin(self, data: bytes | None) -> None:
        """The first call: `data` was read already, or nothing was there yet."""
        if data is None:
            self.read_with(self.readable)
        else:
            self._take(data)

    def finish(self, rest: memoryview) -> None:
        """The first call where most of the only answer was sent already: send the rest and close."""
        self._served, self._close_after = 1, True
        self._start(BytesTransfer(rest))

    def _take(self, data: bytes) -> None:
        if not self._buffer:
            memo = self._memo
            answer = memo.answers.get(data)
            if answer is None:
                answer = memo.last_answers.get(data)
                self._close_after = answer is not None
            if answer is not None and boot() < memo.valid_until and self._is_admitted:
                self._answer_from_memo(memo, answer)
                return
            file = memo.files.get(data)
            is_valid = boot() < memo.valid_until and self._is_admitted
            if file is not None and is_valid and self._send_known(memo, file):
                return
        if not data:
            self.close()
            return
        self._buffer += data
        self._advance()

    def _answer_from_memo(self, memo: Memo, answer: bytes) -> None:
        try:
            sent = self._send(answer)
        except (BlockingIOError, ssl.SSLWantWriteError):
            sent = 0
        except OSError:
            self.close()
            return
        self._served += 1
        memo.hit(answer, sent)
        if sent != len(answer):
            self._start(BytesTransfer(memoryview(answer)[sent:]))
            return
        if self._close_after:
            self.close()
            return
        self.deadline = self._shared.guard.now + self._shared.limits.idle_s
        self.limit = "idle"
        if not self._is_reading:
            self.read_with(self.readable)
        if self._served >= self._shared.limits.requests - 1:
            self._memo = self._shared.memos["none"]  # the last answer says close

    def _send_known(self, memo: Memo, file: FromFile) -> bool:
        """Begin to send a file as before; False when it has to be looked for."""
        try:
            fd = file.reopen()
        except OSError:
            return False
        self._served += 1
        if self._served >= self._shared.limits.requests - 1:
            self._memo = self._shared.memos["none"]  # the last answer says close
        self._close_after = file.close
        if self._tls is not None or file.length > self._shared.step_bytes:
            memo.hit(file.head, 0)
            self._start_file(file.head, fd, file.offset, file.offset + file.length)
        else:
            self._send_at_once(memo, file, fd)
        return True

    def _send_at_once(self, memo: Memo, file: FromFile, fd: int) -> None:
        """A file of one turn, which an empty socket mostly takes whole; what it does not take is a transfer's."""
        head, told, sent = file.head, 0, 0
        self._had_file = True
        try:
            told = self._send(head, socket.MSG_MORE)
            if told == len(head):
                sent = os.sendfile(self._fd, fd, file.offset, file.length)
        except BlockingIOError:
            pass
        except OSError:
            os.close(fd)
            self.close()
            return
        memo.hit(head, told + sent)
        if sent == file.length:
            os.close(fd)
            self._answered()
            self._go_on()
        else:
            self._start_file(head[told:], fd, file.offset + sent, file.offset + file.length)

    def _take_request(self, request: Request) -> None:
        shared = self._shared
        self._served += 1
        if self._served >= shared.limits.requests:
            shared.counters.hit("requests")
            request = replace(request, keep_alive=False)
        self._request = request
        self._arrived = boot()
        if not self._is_admitted and not shared.router.is_health(request):
            self.pause_reading()
            shared.guard.watch(self, shared.limits.waiting_s, "waiting")
            shared.guard.wait(self)
            return
        self._ask()

    def let_in(self) -> None:
        """See guard.Waiting."""
        self._is_admitted = True
        self._loop.call_soon(self.ask_again)

    def ask_again(self) -> None:
        """A held request may have its answer now."""
        if self._request is not None and self._is_admitted:
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
        self._unhold()
        if isinstance(reply, ToControl):
            self._to_control(request)
            return
        self._request = None
        if isinstance(reply, Drop):
            shared.counters.hit(reply.why)
            self.abort()
            return
        shared.counters.add(f"requests_{self._client.listener}_{reply.status}")
        self._answering = request, reply.status, self._sent
        self._close_after = reply.close
        if isinstance(reply, Complete):
            self._answer(reply, asked_at, request)
        elif isinstance(reply, FromFile):
            if self._is_usual(request):
                self._memo.put_file(self._head, reply, asked_at)
            self._start_file(reply.head, reply.fd, reply.offset, reply.offset + reply.length)
        else:
            self._start_fill(reply)

    def _is_usual(self, request: Request) -> bool:
        """Whether a memo may repeat this: not that we close where the client asked to keep, as others wait for room."""
        is_as_asked = request.keep_alive != self._close_after
        return is_as_asked and not self._shared.guard.is_crowded and len(self._head) < RECEIVE_BYTES

    def _answer(self, reply: Complete, asked_at: float, request: Request) -> None:
        if reply.is_lasting and self._is_usual(request):
            self._memo.put(self._head, reply.data, asked_at, is_last=self._close_after)
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

    def _log_answer(self) -> None:
        log = self._shared.access_log
        if log is not None and self._answering is not None:
            (request, status, before), self._answering = self._answering, None
            took_s = boot() - self._arrived
            log.add(self._client, request, status, self._sent - before, _clock.wall(), took_s)

    def _answered(self) -> None:
        self._log_answer()
        if not self._close_after:
            self._shared.guard.watch(self, self._shared.limits.idle_s, "idle")
        elif self._buffer:
            self._linger(self._shared.limits.linger_s)
        else:
            self._part()

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
        self.pause_reading()
        self._cancel_timer()
        # A little later than asked, so that the clock has passed the edge when we look again.
        delay = max(0.0, reply.until - boot()) + 0.001
        self._timer = self._loop.call_later(delay, self.ask_again)

    def _unhold(self) -> None:
        self._shared.held.discard(self)
        self._cancel_timer()

    def _to_control(self, request: Request) -> None:
        shared, feed = self._shared, self._shared.feed
        if shared.relays + len(feed.asks) >= shared.limits.relays:
            shared.counters.hit("relays")
            self._refuse(Refusal(503, "too many requests at one time"))
            return
        self.pause_reading()
        asked = check_in(request, self._client, self._buffer)
        if asked is not None and feed.ask(asked, self._told):
            shared.counters.add("asked")
            if self.is_open:  # control was not found gone just now
                del self._buffer[: len(asked["body"])]
                shared.guard.watch(self, shared.limits.relay_idle_s, "relay_idle")
            return
        self._request = None
        shared.counters.add("relayed")
        first = self._head + bytes(self._buffer)
        self._buffer.clear()
        self._relay = Relay(shared, self, self._client, first)
        self._relay.start()

    def _told(self, answer: dict[str, Any] | None) -> None:
        """What control says to a check-in; None: it is gone, and the instance asks again."""
        request, self._request = self._request, None
        if not self.is_open or request is None:
            return
        if answer is None:
            self.abort()
            return
        status, media = int(answer["status"]), str(answer["media"])
        body = str(answer["body"]).encode()
        self._shared.counters.add(f"requests_{self._client.listener}_{status}")
        self._answering = request, status, self._sent
        self._close_after = True
        date = int(_clock.wall())
        data = text_answer(status, body, date=date, media=media, keep_alive=False)
        self._answer(Complete(data, True, status), self._arrived, request)

    def expire(self, limit: str) -> None:
        """See guard.Guarded."""
        shared = self._shared
        limits, gained = shared.limits, self._sent - self._mark
        if limit == "minimum_rate" and gained >= limits.rate_bytes * limits.rate_s:
            self._mark = self._sent
            shared.guard.watch(self, limits.rate_s, limit)
            return
        shared.counters.hit(limit)
        if limit in _RESET_LIMITS:
            self.abort()
        else:
            self.close()

    def abort(self) -> None:
        """Reset the connection: the client must not take what it has for the whole, unless all of it was sent."""
        self.close(is_reset=self.limit != "linger")

    def close(self, *, is_reset: bool = False) -> None:
        """See Reader."""
        if not self.is_open:
            return
        shared = self._shared
        self._log_answer()  # one that is cut shows by its bytes
        self._unhold()
        self._drop_transfer()
        relay, self._relay = self._relay, None
        if relay is not None:
            relay.close()
        self.release(is_reset=is_reset)
        self.deadline = 0.0
        is_waiting, self._request = self._request is not None and not self._is_admitted, None
        shared.connections.discard(self)
        if is_waiting:
            shared.guard.stop_waiting(self)
        shared.guard.leave(self.address, was_admitted=self._is_admitted)
