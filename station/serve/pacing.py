"""How much one call may send to a client whose connection the kernel paces.

bbr gives each segment an instant, and a segment that waits for it costs a timer of its own: most of what sending
costs, on a machine whose default is bbr. Small steps leave hardly a segment waiting: while the other connections
have their turn, the instant of the next one passes. Measured on loopback, whose segments are 64 KiB: 0.13 s of CPU
per GB of 32 downloads, without 0.29; of 16 tunnels, whose bytes come in as they go out, 0.21 and 0.27. reno and cubic
do not pace: there a small step would only be more events.
"""

import contextlib
import socket

_NAME_BYTES = 16  # TCP_CA_NAME_MAX of linux/tcp.h

# Below three segments: just above a multiple of them each step would end in a runt.
FILE_STEP_BYTES = 176 * 1024
# Below one.
TUNNEL_STEP_BYTES = 62 * 1024


def is_paced(listener: socket.socket) -> bool:
    """Whether the connections that this socket accepts, which inherit its congestion control, are paced."""
    with contextlib.suppress(OSError):  # a unix socket has none
        name = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _NAME_BYTES)
        return name.startswith(b"bbr")
    return False
