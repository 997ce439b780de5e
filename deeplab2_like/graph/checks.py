# SPDX-License-Identifier: Apache-2.0
"""Checks that run in TensorFlow graphs and fail with one sentence.

A graph can only fail with a `tf.errors.OpError`, whose text also contains the
call stack. `check` encloses its sentence in marks of the kind of failure, and
`find_sentence` finds it again.
"""

import contextlib
import re
from collections.abc import Callable

import tensorflow as tf

# Kinds of failures.
DATA = "data"
REQUEST = "request"
TRAINING = "training"

_MARKED = re.compile(r"<(\w+) error> (.*?) </\1 error>", re.DOTALL)
# Exported models of earlier versions did not mark their sentences.
_UNMARKED = re.compile(r"assertion failed: \[(.*?)\]\s*(\n|$)", re.DOTALL)
_ESCAPE = re.compile(r"\\([0-7]{3}|x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}


def sentence(*parts: str | tf.Tensor) -> tf.Tensor:
    """Joins text and tensors into a string scalar.

    Args:
        *parts: Text, and tensors of numbers or text; no raw bytes of a file,
            which Python could not decode in an error text.
    """
    return tf.strings.join(
        [
            part
            if isinstance(part, str)
            or (part.dtype == tf.string and part.shape.rank == 0)
            else tf.strings.format("{}", part, summarize=8)
            for part in parts
        ]
    )


def check(
    is_good: tf.Tensor,
    make_sentence: Callable[[], tf.Tensor],
    kind: str = DATA,
) -> tf.Tensor:
    """Fails the graph with one sentence if `is_good` is false.

    Args:
        is_good: bool scalar.
        make_sentence: Function that returns the sentence, a string scalar;
            its operations run only when the check fails. See `sentence`.
        kind: Kind of the failure: `DATA`, `REQUEST` or `TRAINING`.

    Returns:
        `is_good`. Only what depends on it runs after the check; see `after`.

    Raises:
        tf.errors.InvalidArgumentError: `is_good` is false when the graph runs;
            see `find_sentence`.
    """

    def fail() -> tf.Tensor:
        text = tf.strings.join(
            [f"<{kind} error> ", make_sentence(), f" </{kind} error>"]
        )
        assertion = tf.raw_ops.Assert(condition=False, data=[text], summarize=1)
        # In eager mode a failure has raised by now; there is no operation.
        with tf.control_dependencies([assertion] if assertion else []):
            return tf.constant(False)

    return tf.cond(is_good, lambda: tf.constant(True), fail)


def after(*checked: tf.Tensor) -> contextlib.AbstractContextManager[None]:
    """Returns a context whose operations run only after checks have passed.

    Args:
        *checked: Results of `check`.
    """
    return tf.control_dependencies(list(checked))


def error_text(error: Exception) -> str | None:
    """Returns the text of an error of TensorFlow; None for other errors."""
    if isinstance(error, tf.errors.OpError):
        return error.message
    if isinstance(error, UnicodeDecodeError):
        # TensorFlow quoted the bytes of a file in its text.
        return bytes(error.object).decode("utf-8", "replace")
    return None


def find_sentence(error: Exception, kind: str) -> str | None:
    """Returns the sentence of a failed `check`; None for other failures.

    Args:
        error: Exception that a graph raised.
        kind: Kind of the check.
    """
    text = error_text(error)
    if text is None:
        return None
    marked = _MARKED.search(text)
    if marked:
        return _unescape(marked[2]) if marked[1] == kind else None
    unmarked = _UNMARKED.search(text) if kind == REQUEST else None
    return _unescape(unmarked[1]) if unmarked else None


def _unescape(text: str) -> str:
    """Undoes the C escapes that TensorFlow writes into an error text."""

    def replace(match: re.Match[str]) -> str:
        code = match[1]
        if code[0] in "01234567":
            return chr(int(code, 8))
        if code[0] == "x" and len(code) == 3:
            return chr(int(code[1:], 16))
        return _ESCAPED.get(code, code)

    return _ESCAPE.sub(replace, text)
