# SPDX-License-Identifier: Apache-2.0
"""Which channels of an image are taken as red, green and blue."""

from collections.abc import Sequence

from deeplab2_like import errors

# More channels than these are not taken without being told which.
_MAX_CHANNELS = 4


def check(channels: Sequence[int] | None) -> None:
    """Checks channels before any image is known.

    Args:
        channels: Numbers of channels, from 1; None: the rule of `choose`.

    Raises:
        ConfigError: There are neither one nor three, or one is below 1.
    """
    if channels is None:
        return
    if len(channels) not in (1, 3) or min(channels) < 1:
        text = ",".join(map(str, channels))
        raise errors.ConfigError(
            f"--channels={text} must be three numbers, those of the channels "
            "that are red, green and blue, or one for gray. The first channel "
            "is 1, for example --channels=4,3,2."
        )


def choose(
    path: str,
    count: int,
    given: Sequence[int] | None,
    stored: tuple[int, int, int] | None,
) -> tuple[int, int, int]:
    """Returns the channels, from 0, that become red, green and blue.

    By default those that the file names so; else the first three, the last one
    again where there are fewer: one is gray, of two the second is green and
    blue. A fourth is left out.

    Args:
        path: The file, for messages.
        count: Number of its channels, without alpha.
        given: Numbers from 1, one or three; None: the rule.
        stored: The channels that the file says are the colors, from 0.

    Raises:
        ConfigError: See `check`.
        DataError: The image has no such channel, or so many that they must be
            given.
    """
    check(given)
    if given is not None:
        if max(given) > count:
            text = ",".join(map(str, given))
            raise errors.DataError(
                f"{path} has {count} channel(s), and --channels={text} asks "
                f"for number {max(given)}. Give numbers of 1 to {count}."
            )
        chosen = [number - 1 for number in given]
        red, green, blue = chosen * 3 if len(chosen) == 1 else chosen
        return red, green, blue
    if stored is not None:
        return stored
    if count > _MAX_CHANNELS:
        raise errors.DataError(
            f"{path} has {count} channels. Say which are red, green and blue, "
            "for example --channels=4,3,2; the first is 1."
        )
    return 0, min(1, count - 1), min(2, count - 1)
