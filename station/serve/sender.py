"""Sends what one send does not finish: at each event a bounded step, at a minimum rate, until the answer is out."""

import asyncio
from abc import ABC, abstractmethod

from station.runtime.lines import line
from station.serve.passing import RelayTransfer
from station.serve.reply import Client, FromFill, FromRelay
from station.serve.shared import Shared
from station.serve.transfer import FileTransfer, FillTransfer, Progress, Socket, Transfer
from station.serve.wire import Wire

FILL_POLL_S = 0.05


class Sender(Wire, ABC):
    """The sending half of a connection, which says what comes after an answer."""

    __slots__ = (
        "_client", "_had_file", "_mark", "_sent", "_shared", "_timer", "_transfer", "deadline", "limit", "slot",
    )  # fmt: skip

    def __init__(self, shared: Shared, sock: Socket, client: Client) -> None:
        super().__init__(shared.loop, sock)
        self._shared, self._client = shared, client
        self._transfer: Transfer | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sent = self._mark = 0
        self._had_file = False  # or another answer that one send did not finish
        self.deadline, self.limit, self.slot = 0.0, "", 0

    @abstractmethod
    def expire(self, limit: str) -> None:
        """See guard.Guarded."""

    @abstractmethod
    def abort(self) -> None:
        """Reset the connection: the client must not take what it has for the whole."""

    @abstractmethod
    def _answered(self) -> None:
        """The answer is out."""

    @abstractmethod
    def _go_on(self) -> None:
        """Soon take the next request, one that is here or one to come."""

    def _start(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self._had_file = True
        self._mark = self._sent
        self._shared.guard.watch(self, self._shared.limits.rate_s, "minimum_rate")
        self._pump()

    def _start_file(self, head: bytes, fd: int, offset: int, end: int) -> None:
        self._start(FileTransfer(head, fd, offset, end, self._shared.step_bytes))

    def _start_fill(self, reply: FromFill | FromRelay) -> None:
        if isinstance(reply, FromRelay):
            self._start(RelayTransfer(reply.head, reply.sock, reply.length))
            return
        reply.fill.watchers.append(self._pump)
        most = self._shared.step_bytes
        self._start(
            FillTransfer(
                reply.head, reply.fill, reply.fd, reply.offset, reply.end, most, reply.size
            )
        )

    def _pump(self) -> None:
        """Send some more of what is under way."""
        transfer = self._transfer
        if transfer is None:
            return
        before, progress, broken = transfer.sent, Progress.MORE, None
        try:
            progress = transfer.step(self._sock)
        except BlockingIOError:
            pass
        except OSError as error:
            broken = error
        gained = transfer.sent - before
        self._sent += gained
        self._shared.counters.add(f"bytes_{self._client.listener}", gained)
        if broken is not None:
            if isinstance(transfer, FillTransfer | RelayTransfer):
                line("warning", "fill.broken", error=str(broken))
            self.abort()
            return
        if progress is Progress.MORE:
            self.write_with(self._pump)
            return
        self.stop_writing()
        if progress is Progress.STARVED:
            self._starve(has_gained=gained > 0)
            return
        self._drop_transfer()
        self._answered()
        self._go_on()

    def _starve(self, *, has_gained: bool) -> None:
        """Wait for the file to grow."""
        if has_gained or self.limit != "fill_stall":
            self._shared.guard.watch(self, self._shared.limits.fill_stall_s, "fill_stall")
        transfer = self._transfer
        if isinstance(transfer, RelayTransfer):
            self._loop.add_reader(transfer.source, self._fed, transfer)
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(FILL_POLL_S, self._pump)

    def _fed(self, transfer: RelayTransfer) -> None:
        """The relay has more."""
        self._loop.remove_reader(transfer.source)
        self._pump()

    def _drop_transfer(self) -> None:
        transfer, self._transfer = self._transfer, None
        if transfer is not None:
            if isinstance(transfer, RelayTransfer):
                self._loop.remove_reader(transfer.source)
            transfer.close()
            if isinstance(transfer, FillTransfer):
                self._cancel_timer()
                transfer.fill.watchers.remove(self._pump)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
