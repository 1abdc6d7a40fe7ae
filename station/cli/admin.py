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


class Unanswered(Exception):
    """The station refused, or `is_silent`: it said nothing at all. `code`: what the program would end with."""

    def __init__(self, message: str, code: int = FAILED, *, is_silent: bool = False) -> None:
        super().__init__(message)
        self.code, self.is_silent = code, is_silent


class Admin:
    """Asks the station behind one socket. Every failure ends the program with one line that says what to do.

    `answer_s`: seconds that an answer may take.
    """

    def __init__(self, socket: Path, answer_s: float = ANSWER_S) -> None:
        self.socket = socket
        self._answer_s = answer_s

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

    def tried(self, path: str) -> str:
        """The answer as text. Raises Unanswered."""
        return self._try("GET", path).text

    def _ask(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        parameters: dict[str, str] | None = None,
    ) -> "httpx.Response":
        try:
            return self._try(method, path, body=body, parameters=parameters)
        except Unanswered as error:
            fail(str(error), error.code)

    def _try(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        parameters: dict[str, str] | None = None,
    ) -> "httpx.Response":
        import httpx

        try:
            is_there = self.socket.exists()
        except OSError:  # its directory is closed to this user, as the attempt to connect will say
            is_there = True
        if not is_there:
            raise Unanswered(
                f"no socket at {self.socket}: is the station running? "
                "Name another with --socket, STATION_SOCKET or --config.",
                is_silent=True,
            )
        transport = httpx.HTTPTransport(uds=str(self.socket))
        limit_s = self._answer_s
        try:
            with httpx.Client(transport=transport, timeout=limit_s, trust_env=False) as client:
                answer = client.request(
                    method, f"http://station{path}", json=body, params=parameters or None
                )
        except httpx.TimeoutException:
            text = f"no answer on {self.socket} within {limit_s:.0f} s; see the station's log"
            raise Unanswered(text, is_silent=True) from None
        except httpx.TransportError as error:
            text = f"{self.socket}: {_why(self.socket, error)}"
            raise Unanswered(text, is_silent=True) from error
        if answer.is_error:
            code = MISUSE if answer.status_code in _VALUE_REFUSED else FAILED
            raise Unanswered(_error_text(answer), code)
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
