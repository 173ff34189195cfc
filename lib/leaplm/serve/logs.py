"""The service's log: one JSON object a line, without personal data.

Texts are not logged at all unless asked for, and then redacted; whatever else is logged goes through the same redaction.
Names of people are not found by it: `--log-texts` is for a test, with the consent of those who write.
"""

import json
import logging
import sys
import time
import traceback

from leaplm.redaction import redact

LOGGER = "leaplm.serve"
MOST_CHARACTERS = 200


class JsonFormatter(logging.Formatter):
    """Time, level, message and the record's `fields`; new lines cannot forge a second entry.

    All strings are redacted but our own time: it is as long as a phone number, and each country's rules would look at it.
    """

    def format(self, record):
        now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        entry = {"level": record.levelname.lower(), "message": record.getMessage(), **getattr(record, "fields", {})}
        if record.exc_info:
            place = traceback.extract_tb(record.exc_info[2])[-1]
            entry["error"] = record.exc_info[0].__name__  # without its message, which may quote a text
            entry["place"] = f"{place.filename}:{place.lineno}"
        return json.dumps({"time": now, **{name: clean(value) for name, value in entry.items()}}, ensure_ascii=True)


def clean(value):
    """Strings redacted, then cut (the other way round could leave half a phone number), in lists too; the rest as it is."""
    if isinstance(value, str):
        return redact(value)[:MOST_CHARACTERS]
    return [clean(item) for item in value] if isinstance(value, list) else value


def make_logger(stream=None):
    """The service's logger, to standard error or `stream`."""
    logger = logging.getLogger(LOGGER)
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    logger.handlers[:], logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
    return logger
