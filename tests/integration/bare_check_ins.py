"""What check-ins cost a server that does nothing: aiohttp over TLS, which reads the facts and says the same to all.

Run by path: HOST PORT CERTIFICATE KEY.
"""

import json
import ssl
import sys

from aiohttp import web

TEXT = json.dumps(
    {"id": "x" * 11, "token": "t" * 200, "changed": [], "keys": ["base"], "repos": "0" * 64}
)


async def check_in(request: web.Request) -> web.Response:
    """The facts are read, as they would have to be, and no more."""
    json.loads(await request.read())
    return web.Response(text=TEXT, content_type="application/json")


def main() -> None:
    """Until SIGTERM."""
    host, port, certificate, key = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    app = web.Application()
    app.router.add_post("/instances/{id}/checkin", check_in)
    web.run_app(app, host=host, port=int(port), ssl_context=context, access_log=None, print=None)


if __name__ == "__main__":
    main()
