"""What the proxy says itself: a tunnel stands, or why there is none."""

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"

_PHRASES = {
    200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    429: "Too Many Requests", 431: "Request Header Fields Too Large", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Gateway Timeout", 508: "Loop Detected",
}  # fmt: skip


def answer(status: int, text: str, *, has_body: bool = True) -> bytes:
    """A complete answer in plain text, after which the connection ends. Without its body for a HEAD."""
    body = f"{text}\n".encode()
    allow = "Allow: CONNECT, GET, HEAD\r\n" if status == 405 else ""
    head = (
        f"HTTP/1.1 {status} {_PHRASES[status]}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n"
        f"{allow}Connection: close\r\n\r\n"
    )
    return head.encode() + (body if has_body else b"")
