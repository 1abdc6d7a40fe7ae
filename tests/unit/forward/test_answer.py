"""What the proxy says itself is complete, and says what else may be asked."""

from station.forward.answer import answer


def test_an_answer_is_whole_and_ends_the_connection() -> None:
    head, _, body = answer(403, "not for you").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert b"\r\nConnection: close" in head
    assert f"\r\nContent-Length: {len(body)}\r\n".encode() in head
    assert body == b"not for you\n"


def test_an_answer_to_head_has_the_length_and_no_body() -> None:
    whole, head = answer(502, "away"), answer(502, "away", has_body=False)
    assert whole == head + b"away\n"


def test_only_a_method_that_is_not_served_is_told_which_are() -> None:
    assert b"\r\nAllow: CONNECT, GET, HEAD\r\n" in answer(405, "no")
    assert b"Allow" not in answer(403, "no")
