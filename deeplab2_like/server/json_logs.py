# SPDX-License-Identifier: Apache-2.0
"""Logs as lines of JSON on standard error, without what clients sent."""

import datetime
import logging
import sys
import traceback

from deeplab2_like.storage import json_files

_NAMES = ("deeplab2_like.server", "uvicorn.error", "grpc")


class JsonFormatter(logging.Formatter):
    """Formats a record, and its `fields`, as a line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            # Where, not the text: that may quote what a client sent.
            frames = traceback.extract_tb(record.exc_info[2])
            line["where"] = [f"{f.filename}:{f.lineno}" for f in frames[-8:]]
        return json_files.to_line(line)


def start(level: int) -> None:
    """Sends the logs of the server to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    for name in _NAMES:
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False
