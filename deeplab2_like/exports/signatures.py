# SPDX-License-Identifier: Apache-2.0
"""Names of the signatures of exported models. Needs no TensorFlow."""

IMAGES = "serving_default"
BYTES = "encoded"
COMPACT = "encoded_compact"
OVERLAY = "encoded_overlay"
# Ends the names of those that XLA compiles, in an export that has both kinds.
XLA_SUFFIX = "_xla"


def name(base: str, *, is_twin: bool) -> str:
    """Returns the name of a signature, or of its compiled twin."""
    return base + XLA_SUFFIX if is_twin else base


def base_of(signature: str) -> str:
    """Returns the name of a signature without the suffix of a twin."""
    return signature.removesuffix(XLA_SUFFIX)


def is_twin(signature: str) -> bool:
    """Returns whether a signature is the compiled twin of another one."""
    return signature.endswith(XLA_SUFFIX)


def has_independent_rows(signature: str) -> bool:
    """Returns whether each row is answered as if it were alone.

    Then a server may put requests together.
    """
    return base_of(signature) in (COMPACT, OVERLAY)
