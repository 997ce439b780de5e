# SPDX-License-Identifier: Apache-2.0
"""A field of a config with its value and the reason for it."""

import dataclasses

SYSTEMS = (
    "panoptic_deeplab",
    "panoptic_fpn",
    "efficientps",
    "efficientps_solov2",
)


class Word(str):
    """The name of a value of an enumeration: written without quotes."""


Scalar = str | bool | int | float
Value = Scalar | list[int] | list[float]


@dataclasses.dataclass(frozen=True)
class Choice:
    """A field of a config.

    Attributes:
        path: Path of the field, such as "trainer_options.seed"; an index
            stands behind a repeated message, as in "low_level[1].feature_key".
        value: Its value.
        reason: Why, a sentence for the comment; "" where it needs none.
    """

    path: str
    value: Value
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Wishes:
    """What the user decided.

    Attributes:
        system: One of `SYSTEMS`.
        minutes: Time that training should take on this machine.
    """

    system: str = SYSTEMS[0]
    minutes: float = 10.0
