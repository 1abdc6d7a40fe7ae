"""An epoll of our own below asyncio's: sockets cost a dictionary entry, an event costs one call.

asyncio keeps a Handle, a selector key and a context for each descriptor, and runs each event through all three. Here
the loop sees one descriptor, the epoll's own; what is ready in it is dispatched in batches. Level-triggered: an event
is a hint, every handler bears one too many (a descriptor number may be in use again within one batch).
"""

import asyncio
import select
from typing import Protocol

IN, OUT = select.EPOLLIN, select.EPOLLOUT
BROKEN = select.EPOLLERR | select.EPOLLHUP
_BATCH = 256  # events taken at once; bounds the time until asyncio's own callbacks run again


class Handler(Protocol):
    """What is told of events on one descriptor."""

    def on_event(self, events: int) -> None:
        """`events`: IN, OUT and BROKEN as epoll reports them. Never blocks."""


class Poller:
    """Descriptors and their handlers. Belongs to one running loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        loop.add_reader(self._epoll.fileno(), self._ready)

    def register(self, fd: int, events: int, handler: Handler) -> None:
        """Begin to watch `fd` for `events` (IN, OUT). Raises OSError, e.g. for a descriptor already watched."""
        self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def modify(self, fd: int, events: int) -> None:
        """Watch for other events from now on."""
        self._epoll.modify(fd, events)

    def unregister(self, fd: int) -> None:
        """Forget a watched descriptor that stays open."""
        del self._handlers[fd]
        self._epoll.unregister(fd)

    def closing(self, fd: int) -> None:
        """Forget a descriptor that the caller closes now: the kernel takes it out by itself."""
        self._handlers.pop(fd, None)

    def close(self) -> None:
        """Forget everything. The descriptors themselves belong to others."""
        self.loop.remove_reader(self._epoll.fileno())
        self._handlers.clear()
        self._epoll.close()

    def _ready(self) -> None:
        handlers = self._handlers
        for fd, events in self._epoll.poll(0, _BATCH):
            handler = handlers.get(fd)
            if handler is None:
                continue
            try:
                handler.on_event(events)
            except Exception as error:
                # A fault of ours in one connection. It is not watched any more, or it would return for ever;
                # its deadline closes it.
                if handlers.get(fd) is handler:
                    self.unregister(fd)
                context = {"message": f"handler of descriptor {fd}", "exception": error}
                self.loop.call_exception_handler(context)
            if self._epoll.closed:
                return
