"""Stations that cannot reach each other while clients reach both: a network namespace in which a port is cut off.

    with Namespace() as network, LabUnderTest(…) as lab:
        network.cut(17946)
        network.heal()

The calling thread moves into a new network namespace, and what it starts with it. Only root may do that.
"""

import ctypes
import os
import subprocess
from types import TracebackType
from typing import Self

_CLONE_NEWNET = 0x40000000
_LOCAL_PREFERENCE = "100"
_CUT_PREFERENCE = "50"


class Namespace:
    """An empty network with loopback. TCP to a port is cut by a routing rule, also of connections that exist."""

    def __enter__(self) -> Self:
        self._before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        _call("unshare", _CLONE_NEWNET)
        _ip("link", "set", "lo", "up")
        # The table of local addresses is looked up first; a rule before it is possible once it is moved.
        _ip("rule", "add", "pref", _LOCAL_PREFERENCE, "lookup", "local")
        _ip("rule", "del", "pref", "0")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _call("setns", self._before, _CLONE_NEWNET)
        os.close(self._before)

    def cut(self, port: int) -> None:
        """Nobody reaches this port any more."""
        _ip(
            "rule",
            "add",
            "pref",
            _CUT_PREFERENCE,
            "ipproto",
            "tcp",
            "dport",
            str(port),
            "blackhole",
        )

    def heal(self) -> None:
        """All is as before."""
        _ip("rule", "del", "pref", _CUT_PREFERENCE)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, timeout=10)


def _call(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
