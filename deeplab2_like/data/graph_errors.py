# SPDX-License-Identifier: Apache-2.0
"""Errors of an input pipeline as sentences.

`as_data_error` finds the sentence of a failed check (`graph.checks`), and puts
the commonest errors of TensorFlow's own readers and decoders into one.
"""

import re

from deeplab2_like import errors
from deeplab2_like.graph import checks

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


def as_data_error(error: Exception) -> errors.DataError | None:
    """Returns the one sentence behind an error of an input pipeline.

    Args:
        error: What reading a data set raised.

    Returns:
        The error to raise instead, or None where `error` is not about data.
    """
    found = checks.find_sentence(error, checks.DATA)
    if found is not None:
        return errors.DataError(found)
    text = checks.error_text(error)
    if text is None:
        return None
    for pattern, sentence in _KNOWN:
        match = re.search(pattern, text)
        if match:
            return errors.DataError(sentence.format(*match.groups()))
    return None
