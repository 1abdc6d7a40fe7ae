"""`python -m station.lab.upstream DIRECTORY ADDRESS PORT`: a plain HTTP server for a directory, as upstream of the lab.

Prints `listening PORT` once it does. Loopback only.
"""

import functools
import ipaddress
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer


class _Quiet(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30  # a client that says nothing for so long is gone

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the lab shows what matters."""


def main() -> None:
    """Serve until killed."""
    directory, address, port = sys.argv[1:4]
    if not ipaddress.ip_address(address).is_loopback:
        sys.exit(f"{address} is not a loopback address: this server is for labs")
    handler = functools.partial(_Quiet, directory=directory)
    server = ThreadingHTTPServer((address, int(port)), handler)
    server.daemon_threads = True
    sys.stdout.write(f"listening {server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
