"""How log lines look: readable, or one JSON object each."""

import json
import logging
from datetime import UTC, datetime
from typing import Any, Final

MAX_TEXT: Final = 3_500  # as written, so that a line has 8 KiB at most
FACTS: Final = "request"  # where a record carries what is known of a request


class JsonFormatter(logging.Formatter):
    """Writes a record as one JSON object, in ASCII, on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object; a request's facts stand beside the others."""
        line: dict[str, Any] = {
            "time": _time_of(record),
            "level": record.levelname,
            "logger": record.name,
            "message": _bounded(record.getMessage()),
            **getattr(record, FACTS, {}),
        }
        if record.exc_info:
            line["exception"] = _bounded(self.formatException(record.exc_info))
        return json.dumps(line)


class RequestFormatter(logging.Formatter):
    """Writes a request's facts on one line, for reading."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, in ASCII as the facts are."""
        facts = getattr(record, FACTS)
        words = (
            _time_of(record),
            facts["client"] or "-",
            facts["method"],
            facts["path"],
            facts["status"] or "-",
            f"{1e3 * facts['duration_seconds']:.2f} ms",
            facts["request_id"],
            facts.get("trace_id", ""),
        )
        return " ".join(map(str, words)).rstrip()


def to_stderr(log_format: str, text: str) -> None:
    """Let every logger of this process write to standard error.

    Args:
        log_format: `json` or `text`.
        text: The template of a readable line.
    """
    handler = logging.StreamHandler()
    is_json = log_format == "json"
    handler.setFormatter(JsonFormatter() if is_json else logging.Formatter(text))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def _bounded(text: str) -> str:
    """Leave out the middle of a text that is too long for a line."""
    kept, half = text, len(text) // 2
    while len(json.dumps(kept)) > MAX_TEXT:
        half = half * 3 // 4
        kept = f"{text[:half]} ... {text[-half:]}"
    return kept


def _time_of(record: logging.LogRecord) -> str:
    time = datetime.fromtimestamp(record.created, UTC)
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")
