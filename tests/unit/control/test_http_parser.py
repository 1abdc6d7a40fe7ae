from aiohttp import http_parser


def test_aiohttp_has_its_parser_in_c() -> None:
    """The one in Python is slower and was, more than once, the laxer of the two."""
    assert http_parser.HttpRequestParser is http_parser.HttpRequestParserC
