"""The proxy behind ours, when there is one: the setting `forward`."""

import base64
from dataclasses import dataclass
from urllib.parse import unquote

from station.forward.target import Target, TargetError, parse_target


@dataclass(frozen=True, slots=True)
class Outer:
    """Where it is; `authorization`: value of Proxy-Authorization, "" without credentials. Given to nobody else."""

    target: Target
    authorization: str = ""

    def connect_head(self, target: Target, via: str) -> bytes:
        """The request for a tunnel to `target`."""
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", f"Via: 1.1 {via}"]
        if self.authorization:
            lines.append(f"Proxy-Authorization: {self.authorization}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n"


def parse_outer(text: str) -> Outer | None:
    """`[http://][USER:PASSWORD@]HOST:PORT`, None for "". Raises ValueError, without the credentials in it."""
    if not text:
        return None
    credentials, at, authority = text.removeprefix("http://").rstrip("/").rpartition("@")
    try:
        target = parse_target(authority.encode())
    except TargetError as error:
        raise ValueError(f"outer proxy: {error}") from None
    if not at:
        return Outer(target)
    user, _, password = credentials.partition(":")
    token = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
    return Outer(target, f"Basic {token}")
