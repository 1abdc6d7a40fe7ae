"""One line per change of state, fields not prose: key=value on a terminal, JSON for a collector."""

import logging
import os
import sys

import structlog


def configure_logs(process: str) -> None:
    """Log to stderr with the process's name on each line. STATION_LOG=json|text, STATION_LOG_LEVEL=debug|info|…"""
    level = getattr(logging, os.environ.get("STATION_LOG_LEVEL", "info").upper(), logging.INFO)
    as_json = os.environ.get("STATION_LOG", "text") == "json"
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.processors.KeyValueRenderer(
            key_order=["timestamp", "level", "process", "event"]
        )
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
