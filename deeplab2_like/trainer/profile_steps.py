# SPDX-License-Identifier: Apache-2.0
"""Which steps of a training are traced; needs no TensorFlow."""

import dataclasses
import re

from deeplab2_like import errors

_EXAMPLE = "--profile_steps=100:105 traces steps 101 to 105"


@dataclasses.dataclass(frozen=True)
class ProfileSteps:
    """The steps of a trace.

    Attributes:
        start: Steps that are done when it starts.
        end: Steps that are done when it ends.
    """

    start: int
    end: int


def parse(text: str) -> ProfileSteps:
    """Parses START:END.

    Raises:
        ConfigError: It is not of that form, or has no steps.
    """
    match = re.fullmatch(r"(\d+):(\d+)", text.strip())
    if match is None:
        raise errors.ConfigError(
            f"--profile_steps={text} is not of the form START:END: {_EXAMPLE}."
        )
    start, end = int(match[1]), int(match[2])
    if start >= end:
        raise errors.ConfigError(
            f"--profile_steps={text} has no steps: END has to be above START; "
            f"{_EXAMPLE}."
        )
    return ProfileSteps(start, end)
