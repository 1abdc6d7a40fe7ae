"""The network of a bench: this machine's own, or loopback in a namespace with another congestion control on both sides.

On loopback it decides more than either server does: bbr paces each segment by a timer.
"""

from pathlib import Path

CONGESTION = Path("/proc/sys/net/ipv4/tcp_congestion_control")
_BEGIN = f'ip link set lo up && echo "$0" > {CONGESTION} && exec "$@"'


def inside(congestion: str, command: list[str]) -> list[str]:
    """The command, run where all connections have this one; empty: the machine's. Another one takes root.

    A namespace may choose among net.ipv4.tcp_allowed_congestion_control.
    """
    if not congestion:
        return command
    return ["unshare", "--net", "sh", "-c", _BEGIN, congestion, *command]


def congestion_of(asked: str) -> str:
    """What both sides will have."""
    return asked or CONGESTION.read_text().strip()
