"""One fuzzer process: `python -m tests.soak.fuzz PARSER DIRECTORY [libFuzzer's options]`.

Atheris finds inputs by the coverage of the parser's own code. Ends with libFuzzer's status: 0 when the time is over.
"""

import sys

import atheris

atheris.enabled_hooks.add("RegEx")  # most of our grammar is regular expressions
with atheris.instrument_imports(include=["station.http", "station.forward"]):
    from tests.soak.parsers import PARSERS


def main() -> None:
    """Fuzz until an option ends it, or an assertion fails."""
    name, *options = sys.argv[1:]
    parser = PARSERS[name]
    atheris.Setup([sys.argv[0], *options], parser)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
