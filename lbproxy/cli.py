"""`lbproxy --config FILE`: run the balancer. `--check`: only read the configuration.

Exit: 0 ended as asked, 1 a port could not be had, 2 bad usage or configuration. SIGTERM, SIGINT and SIGUSR1: accept no
more, let connections end for `drain_s`, then end; a second signal ends at once.
"""

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from pathlib import Path

from lbproxy.config import Config, ConfigError, load_config
from lbproxy.service import Service


def main(arguments: list[str] | None = None) -> int:
    """Run; the exit code."""
    parser = argparse.ArgumentParser("lbproxy", description="TCP balancer for a group of stations.")
    parser.add_argument("--config", required=True, type=Path, metavar="FILE")
    parser.add_argument("--check", action="store_true", help="read the configuration and end")
    options = parser.parse_args(arguments)
    try:
        config = load_config(options.config)
    except ConfigError as error:
        for problem in error.problems:
            sys.stderr.write(f"lbproxy: {problem}\n")
        return 2
    if options.check:
        return 0
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        asyncio.run(_run(config))
    except OSError as error:
        sys.stderr.write(f"lbproxy: {error}\n")
        return 1
    return 0


async def _run(config: Config) -> None:
    service, stop = Service(config), asyncio.Event()
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def signalled() -> None:
        if stop.is_set():
            task.cancel()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        loop.add_signal_handler(number, signalled)
    await service.start()
    with contextlib.suppress(asyncio.CancelledError):
        await stop.wait()
        await service.close(config.drain_s)


if __name__ == "__main__":
    sys.exit(main())
