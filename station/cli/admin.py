"""The conversation with a running station, over its admin socket."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from station.cli.options import FAILED, MISUSE, fail

if TYPE_CHECKING:
    import httpx

DEFAULT_SOCKET = Path("/run/station/admin.sock")

# Writes wait for the ledger's fsync and the first peers; a disk that needs longer is a fault to be told about.
ANSWER_S = 30.0

_VALUE_REFUSED = (400, 422)


class Admin:
    """Asks the station behind one socket. Every failure ends the program with one line that says what to do."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def get(self, path: str, **parameters: str) -> Any:
        """The answer's JSON."""
        return self._ask("GET", path, parameters=parameters).json()

    def text(self, path: str, **parameters: str) -> str:
        """The answer as text."""
        return self._ask("GET", path, parameters=parameters).text

    def post(self, path: str, body: object = None) -> Any:
        """The answer's JSON."""
        return self._ask("POST", path, body=body).json()

    def put(self, path: str, body: object) -> Any:
        """The answer's JSON."""
        return self._ask("PUT", path, body=body).json()

    def patch(self, path: str, body: object) -> Any:
        """The answer's JSON."""
        return self._ask("PATCH", path, body=body).json()

    def delete(self, path: str, **parameters: str) -> Any:
        """The answer's JSON, None when there is none."""
        answer = self._ask("DELETE", path, parameters=parameters)
        return answer.json() if answer.content else None

    def _ask(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        parameters: dict[str, str] | None = None,
    ) -> "httpx.Response":
        import httpx

        if not self._socket.exists():
            fail(
                f"no socket at {self._socket}: is the station running? "
                "Name another with --socket, STATION_SOCKET or --config."
            )
        transport = httpx.HTTPTransport(uds=str(self._socket))
        try:
            with httpx.Client(transport=transport, timeout=ANSWER_S, trust_env=False) as client:
                answer = client.request(
                    method, f"http://station{path}", json=body, params=parameters or None
                )
        except httpx.TimeoutException:
            fail(f"no answer on {self._socket} within {ANSWER_S:.0f} s; see the station's log")
        except httpx.TransportError as error:
            fail(f"{self._socket}: {_why(self._socket, error)}")
        if answer.is_error:
            fail(_error_text(answer), MISUSE if answer.status_code in _VALUE_REFUSED else FAILED)
        return answer


def admin_of(socket: Path | None, config: Path | None) -> Admin:
    """The station meant: --socket or STATION_SOCKET, else the one --config describes, else the default socket.

    A --config on the command line beats a STATION_SOCKET in the environment.
    """
    from_environment = socket is not None and str(socket) == os.environ.get("STATION_SOCKET")
    if config and (socket is None or from_environment):
        from station.cli.config_file import load

        return Admin(Path(load(config).admin.socket))
    return Admin(socket or DEFAULT_SOCKET)


def _why(socket: Path, error: Exception) -> str:
    if not os.access(socket, os.R_OK | os.W_OK):
        return "not yours to use; be root or a member of the group station"
    return f"nobody answers ({error}); is the station running?"


def _error_text(answer: "httpx.Response") -> str:
    try:
        error = answer.json()["error"]
        message, field = str(error["message"]), str(error.get("field") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"the station answered {answer.status_code}: {answer.text[:200]}"
    return f"{field}: {message}" if field and field not in message else message
