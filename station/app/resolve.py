"""`python -m station.app.resolve FILE`: the configuration as JSON, or every problem on stderr and exit 2.

The supervisor asks this short-lived process, so that it need not load a validator for life.
"""

import sys
from pathlib import Path

from station.config.parse import ConfigError, parse_config


def main() -> None:
    """Print the resolved configuration. Exit 0, or 2 with one line per problem."""
    path = Path(sys.argv[1])
    try:
        config = parse_config(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        sys.exit(_misuse(f"{path}: {error}"))
    except ConfigError as error:
        sys.exit(_misuse(str(error)))
    sys.stdout.write(config.model_dump_json())


def _misuse(text: str) -> int:
    sys.stderr.write(text + "\n")
    return 2


if __name__ == "__main__":
    main()
