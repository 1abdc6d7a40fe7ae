"""What the router decides about a request, for the connection to carry out."""

import socket
from collections.abc import Callable
from dataclasses import dataclass

from station.serve.world import Fill


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks, and where: scheme `http` or `https`, name of the listener."""

    address: str
    port: int
    scheme: str
    listener: str


@dataclass(frozen=True, slots=True)
class Complete:
    """A whole answer. `is_lasting`: the same head may get the same bytes until something changes."""

    data: bytes
    close: bool
    status: int
    is_lasting: bool = False


@dataclass(frozen=True, slots=True)
class FromFile:
    """A head, then `length` bytes of an open file from `offset`. The connection closes `fd`.

    `reopen` gives another descriptor, for the same answer to the same head a moment later; it raises OSError.
    """

    head: bytes
    fd: int
    offset: int
    length: int
    close: bool
    status: int
    reopen: Callable[[], int]


@dataclass(frozen=True, slots=True)
class FromFill:
    """A head, then bytes `offset` to `end` of a file that still grows."""

    head: bytes
    fill: Fill
    fd: int
    offset: int
    end: int
    size: int  # of the whole file
    close: bool
    status: int


@dataclass(frozen=True, slots=True)
class FromRelay:
    """A head, then `length` bytes from a socket on which a child of control passes on what a peer sends."""

    head: bytes
    sock: socket.socket
    length: int
    close: bool
    status: int


@dataclass(frozen=True, slots=True)
class Hold:
    """Ask again at boot-clock second `until`, or when something changes; `why` names the limit of this wait."""

    until: float
    why: str


@dataclass(frozen=True, slots=True)
class Drop:
    """End the connection without an answer, so that the client tries elsewhere."""

    why: str


@dataclass(frozen=True, slots=True)
class ToControl:
    """Not ours to answer: relay the bytes."""


Reply = Complete | FromFile | FromFill | FromRelay | Hold | Drop | ToControl
