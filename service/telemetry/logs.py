"""The log: a JSON object a line for machines, plain lines on a terminal. Each line of a request carries its id.

What was asked for never stands in it: no texts, no images, no vectors, no query strings, no keys.
"""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TextIO

from service.settings import Settings

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

CHATTY = ("httpx", "httpcore", "urllib3", "PIL")  # at info they tell addresses, which may carry secrets


class JsonLines(logging.Formatter):
    """time, level, logger, message, request_id, exception, and what a line brings as `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": request_id.get(),
            **getattr(record, "fields", {}),
            "exception": self.formatException(record.exc_info) if record.exc_info else None,
        }
        return json.dumps({key: value for key, value in line.items() if value is not None}, default=str)


def handler(settings: Settings) -> logging.StreamHandler[TextIO]:
    """Writes to standard error as the settings say."""
    made = logging.StreamHandler()
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")
    made.setFormatter(JsonLines() if as_json else text)
    return made


def configure(settings: Settings) -> None:
    """Make this process log as the settings say."""
    # which thread and process a line is from takes as long to find out as all else of it, and is not shown
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler(settings)], force=True)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
