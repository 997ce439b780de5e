# SPDX-License-Identifier: Apache-2.0
"""The semantic loss, which all systems have."""

from collections.abc import Iterator

from deeplab2_like.recipes.choice import Choice
from deeplab2_like.recipes.survey import DataSurvey

PATH = "trainer_options.loss_options.semantic_loss"
# A class with a smaller share of the pixels is rare.
_RARE = 0.01
# Stuff of a smaller part of an image may be left out.
_SMALL_PART = 0.01


def describe_rare(survey: DataSurvey) -> str:
    """Returns a sentence about classes of few pixels; "" without such.

    Args:
        survey: What the data are like.
    """
    shares = survey.shares
    rare = sorted(
        (n for n in shares if shares[n] < _RARE), key=lambda n: shares[n]
    )
    if not rare or len(shares) < 3:
        return ""
    shown = ", ".join(f"{name} {100 * shares[name]:.2g} %" for name in rare[:3])
    more = f" and {len(rare) - 3} more" if len(rare) > 3 else ""
    return (
        f"Rare classes ({shown}{more} of the pixels) have the weight of "
        "others, and all pixels count: in a short training, larger weights or "
        "the hardest pixels alone kept all else from being learned. For a long "
        "one see docs/rare_classes.md."
    )


def choose_area_limit(survey: DataSurvey, scale: float) -> Iterator[Choice]:
    """Yields the area of stuff below which it is left out, if there is stuff.

    Args:
        survey: What the data are like.
        scale: Factor that images are scaled by.
    """
    if not survey.has_things or survey.stuff_areas is None:
        return
    small = survey.stuff_areas.p10 * scale**2
    image = survey.heights.median * survey.widths.median * scale**2
    limit = min(small / 4, _SMALL_PART * image)
    yield Choice(
        "evaluator_options.stuff_area_limit",
        int(limit),
        f"A tenth of the stuff segments has less than {small:.0f} pixels.",
    )


def choose_loss(
    survey: DataSurvey, *, top_k_percent: float = 1.0, weight: float = 1.0
) -> Iterator[Choice]:
    """Yields the fields of the semantic loss.

    Args:
        survey: What the data are like.
        top_k_percent: Share of the pixels that count; 1 for all.
        weight: Factor of the loss.
    """
    yield Choice(f"{PATH}.name", "softmax_cross_entropy", describe_rare(survey))
    if weight != 1.0:
        yield Choice(
            f"{PATH}.weight",
            weight,
            "The mean of the hardest pixels is larger than that of all.",
        )
    if top_k_percent < 1.0:
        yield Choice(
            f"{PATH}.top_k_percent",
            top_k_percent,
            "The pixels of highest loss count, among them rare classes.",
        )
