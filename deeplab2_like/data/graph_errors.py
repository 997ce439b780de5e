# SPDX-License-Identifier: Apache-2.0
"""Data errors that are found inside a TensorFlow graph.

A check inside `tf.data` can only fail as a `tf.errors.OpError`, with the text
of the whole call stack around it. `check` puts its sentence between two marks;
`as_data_error` finds it again and makes it the `DataError` that a user reads.
It also puts the commonest errors of TensorFlow's own readers and decoders into
a sentence.
"""

import re
from collections.abc import Callable

import tensorflow as tf

from deeplab2_like import errors

_START = "<data error> "
_END = " </data error>"
_MARKED = re.compile(re.escape(_START) + "(.*?)" + re.escape(_END), re.DOTALL)
_ESCAPE = re.compile(r"\\([0-7]{3}|x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}

# (pattern in TensorFlow's text, sentence). The first that matches is used.
_KNOWN = (
    (
        r"corrupted record at (\d+)",
        "A record file is damaged: the record at byte {0} does not match its"
        " checksum. Find the file with data/check_data.py and write or copy it"
        " again.",
    ),
    (
        r"truncated record at (\d+)",
        "A record file is cut off: its last record, at byte {0}, is not"
        " complete. Find the file with data/check_data.py and write or copy it"
        " again.",
    ),
    (
        r"Key: ([\w/]+)\.\s+(Data types don't match[^\n\]]*)",
        "A record has a feature {0!r} of the wrong type ({1}). Write the"
        " records with the feature types of data/README.md.",
    ),
    (
        r"(Could not parse example input|Invalid serialized)",
        "A record is not a tf.train.Example. Check that the file pattern"
        " matches record files of this package or of deeplab2 only.",
    ),
    (
        r"(Invalid PNG|PNG image|jpeg::Uncompress|Invalid JPEG|"
        r"Unknown image file format|Expected image|Input size should match)"
        r"([^\n\[]*)",
        "An image or label in the records cannot be decoded ({0}{1}). Find its"
        " name with data/check_data.py --records_per_file=-1, and write the"
        " records again without it.",
    ),
    (
        r"Cannot batch tensors with different shapes in component",
        "The images of one batch have different canvas sizes. Set"
        " eval_dataset_options.batch_size to 1, or give all images one"
        " crop_size.",
    ),
)


def check(
    is_good: tf.Tensor, make_message: Callable[[], tf.Tensor]
) -> tf.Tensor:
    """Stops the graph with one sentence where `is_good` is false.

    Args:
        is_good: bool scalar.
        make_message: Returns the sentence, a string scalar; its operations run
            only when the check fails. It must hold no raw bytes of a file:
            Python could not decode them.

    Returns:
        `is_good`; depend on it to be sure that the check ran.

    Raises:
        tf.errors.InvalidArgumentError: When the graph runs, see
            `as_data_error`.
    """

    def fail() -> tf.Tensor:
        text = tf.strings.join([_START, make_message(), _END])
        assertion = tf.raw_ops.Assert(condition=False, data=[text], summarize=1)
        # An eager failure has raised by now and gives no operation.
        with tf.control_dependencies([assertion] if assertion else []):
            return tf.constant(False)

    return tf.cond(is_good, lambda: tf.constant(True), fail)


def _unescape(text: str) -> str:
    """Undoes the C escapes that TensorFlow writes into an error text."""

    def replace(match: re.Match[str]) -> str:
        code = match.group(1)
        if code[0] in "01234567":
            return chr(int(code, 8))
        if code[0] == "x" and len(code) == 3:
            return chr(int(code[1:], 16))
        return _ESCAPED.get(code, code)

    return _ESCAPE.sub(replace, text)


def as_data_error(error: Exception) -> errors.DataError | None:
    """Returns the one sentence behind an error of an input pipeline.

    Args:
        error: What reading a data set raised.

    Returns:
        The error to raise instead, or None where `error` is not about data.
    """
    if isinstance(error, tf.errors.OpError):
        text = error.message
    elif isinstance(error, UnicodeDecodeError):
        # TensorFlow quoted the bytes of a file in its text.
        text = bytes(error.object).decode("utf-8", "replace")
    else:
        return None
    marked = _MARKED.search(text)
    if marked:
        return errors.DataError(_unescape(marked.group(1)))
    for pattern, sentence in _KNOWN:
        match = re.search(pattern, text)
        if match:
            return errors.DataError(sentence.format(*match.groups()))
    return None
