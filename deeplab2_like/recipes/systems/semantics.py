# SPDX-License-Identifier: Apache-2.0
"""The semantic loss, which all systems have."""

from collections.abc import Iterator

from deeplab2_like.recipes.choice import Choice, Word
from deeplab2_like.recipes.survey import DataSurvey

PATH = "trainer_options.loss_options.semantic_loss"
# A class with a smaller share of the pixels is rare.
_RARE = 0.01
_MOST_WEIGHT = 5.0


def list_rare(survey: DataSurvey) -> list[str]:
    """Lists the names of rare classes, the rarest first."""
    shares = survey.shares
    return sorted(
        (n for n in shares if shares[n] < _RARE), key=shares.__getitem__
    )


def choose_loss(
    survey: DataSurvey, *, top_k_percent: float, weight: float = 1.0
) -> Iterator[Choice]:
    """Yields the fields of the semantic loss.

    Args:
        survey: What the data are like.
        top_k_percent: Share of the pixels that count; 1 for all.
        weight: Factor of the loss.
    """
    yield Choice(f"{PATH}.name", "softmax_cross_entropy")
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
    rare = list_rare(survey)
    if rare and len(survey.shares) > 2:
        shown = ", ".join(
            f"{name} {100 * survey.shares[name]:.2g} %" for name in rare[:3]
        )
        more = f" and {len(rare) - 3} more" if len(rare) > 3 else ""
        yield Choice(
            f"{PATH}.balance",
            Word("MEDIAN_FREQUENCY"),
            f"Rare classes get a larger weight: {shown}{more} of the pixels.",
        )
        yield Choice(f"{PATH}.max_class_weight", _MOST_WEIGHT)
