# SPDX-License-Identifier: Apache-2.0
"""Sizes that everything else follows from: scale, crop, batch, steps.

The constants were measured with `benchmarks/own_photos.py` on two cores.
"""

import dataclasses
import math

from deeplab2_like.config import sizes
from deeplab2_like.recipes.choice import Wishes
from deeplab2_like.recipes.machine import Machine
from deeplab2_like.recipes.survey import DataSurvey

# Factors that images are scaled by.
_SCALES = (0.25, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
# Sides of objects, pixels. Heads have a quarter of the resolution: images are
# not reduced so far that a quarter of the objects has no form there, and are
# enlarged where even large objects have not.
_SMALL_OBJECT = 14
_LARGE_OBJECT = 64
# Longer sides of scaled images, pixels: wanted at most, and the limit where
# small objects ask for more.
_LONG_SIDE = 640
_LONGEST_SIDE = 2048
# Sides of a crop, pixels, and pixels of all crops of a step. In a short
# training many steps of small crops teach more than few of large ones.
_CROP_SIDE = 512
_SMALL_CROP_SIDE = 192
_STEP_PIXELS = 200_000
_SHORT_MINUTES = 30
_MIN_BATCH, _MAX_BATCH = 4, 8
# Images that are this much larger than nine of ten are made smaller.
_OUTLIER = 2.0
_MAX_EPOCHS = 500
_MIN_STEPS = 100


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a training step takes on two cores.

    Attributes:
        seconds: Seconds that do not depend on the crops.
        seconds_per_megapixel: Seconds for a million pixels of crops.
        bytes_per_pixel: Memory for a pixel of the crops.
    """

    seconds: float
    seconds_per_megapixel: float
    bytes_per_pixel: float


# By system and whether the encoder is EfficientNet-Lite0 (otherwise
# MobileNetV3-Small).
_COSTS = {
    ("panoptic_deeplab", True): Cost(0.08, 2.3, 6000),
    ("panoptic_deeplab", False): Cost(0.05, 0.9, 4000),
    ("panoptic_fpn", True): Cost(0.2, 2.4, 8000),
    ("panoptic_fpn", False): Cost(0.2, 0.9, 6000),
    ("efficientps", True): Cost(0.2, 2.4, 8000),
    ("efficientps", False): Cost(0.2, 0.9, 6000),
    ("efficientps_solov2", True): Cost(0.2, 2.6, 8000),
    ("efficientps_solov2", False): Cost(0.2, 1.1, 6000),
}


@dataclasses.dataclass(frozen=True)
class Plan:
    """The sizes of a training.

    Attributes:
        system: One of `choice.SYSTEMS`.
        backbone: Name of the encoder.
        is_pretrained: Whether it starts from weights of ImageNet.
        stride: Stride of the last features, pixels.
        scale: Factor that images are scaled by.
        max_side: Longest side that a scaled image keeps, pixels; 0: any.
        crop: (height, width) of the crops in training, pixels.
        smallest_canvas: (height, width) of the canvas in evaluation: that of
            all images, or that of the smallest ones.
        has_one_canvas: Whether all images have that canvas.
        batch: Images of a step.
        seconds_per_step: What a step takes on this machine, estimated.
        steps: Length of the training.
    """

    system: str
    backbone: str
    is_pretrained: bool
    stride: int
    scale: float
    max_side: int
    crop: tuple[int, int]
    smallest_canvas: tuple[int, int]
    has_one_canvas: bool
    batch: int
    seconds_per_step: float
    steps: int


def make_plan(survey: DataSurvey, machine: Machine, wishes: Wishes) -> Plan:
    """Plans a training.

    Args:
        survey: What the data are like.
        machine: What the machine offers.
        wishes: What the user decided.
    """
    is_pretrained = bool(machine.pretrained)
    stride = 16 if wishes.system == "panoptic_deeplab" else 32
    scale = choose_scale(survey)
    max_side = _choose_max_side(survey, scale)
    heights, widths = survey.heights, survey.widths

    def fit(height: float, width: float) -> tuple[int, int]:
        """Returns the size of a scaled image."""
        factor = scale
        if max_side:
            factor = min(factor, max_side / max(height, width))
        return math.floor(height * factor), math.floor(width * factor)

    has_one_canvas = survey.num_sizes == 1
    low = fit(heights.least, widths.least)
    typical = fit(heights.median, widths.median)
    if wishes.system == "efficientps_solov2":
        # Cells are shares of the canvas, which has one size everywhere.
        max_side = max_side or max(fit(heights.most, widths.most))
        max_side = min(max_side, _CROP_SIDE)
        crop = _canvas(fit(heights.most, widths.most), stride)
        canvas, has_one_canvas = crop, True
    else:
        is_short = wishes.minutes <= _SHORT_MINUTES
        crop = _canvas(_choose_crop(typical, is_short), stride)
        canvas = _canvas(low, stride)
    cost = _COSTS[wishes.system, is_pretrained]
    batch = _choose_batch(survey, machine, cost, crop)
    pixels = batch * crop[0] * crop[1]
    seconds = (
        cost.seconds + cost.seconds_per_megapixel * pixels / 1e6
    ) * _compare_speed(machine)
    return Plan(
        system=wishes.system,
        backbone=(
            machine.pretrained[0] if is_pretrained else "mobilenet_v3_small"
        ),
        is_pretrained=is_pretrained,
        stride=stride,
        scale=scale,
        max_side=max_side,
        crop=crop,
        smallest_canvas=canvas,
        has_one_canvas=has_one_canvas,
        batch=batch,
        seconds_per_step=seconds,
        steps=_choose_steps(survey, batch, seconds, wishes.minutes),
    )


def choose_scale(survey: DataSurvey) -> float:
    """Chooses the factor that images are scaled by.

    Small objects ask for a large one. Where they allow it, images larger than
    `_LONG_SIDE` are made smaller.

    Args:
        survey: What the data are like.
    """
    long_side = max(survey.heights.median, survey.widths.median)
    wanted = min(1.0, _LONG_SIDE / long_side)
    if survey.instance_sizes is not None:
        objects = survey.instance_sizes
        kept = min(1.0, _SMALL_OBJECT / objects.p25)
        wanted = max(wanted, kept, _LARGE_OBJECT / objects.p90)
    limit = min(1.1 * wanted, _LONGEST_SIDE / long_side)
    legal = [scale for scale in _SCALES if scale <= limit]
    return max(legal, default=_SCALES[0])


def _choose_max_side(survey: DataSurvey, scale: float) -> int:
    """Chooses the limit of images that are much larger than the others."""
    long_side = max(survey.heights.p90, survey.widths.p90)
    longest = max(survey.heights.most, survey.widths.most)
    limit = max(_OUTLIER * long_side * scale, _LONG_SIDE)
    limit = min(limit, _LONGEST_SIDE)
    return math.ceil(limit) if longest * scale > limit else 0


def _choose_crop(size: tuple[int, int], is_short: bool) -> tuple[int, int]:
    """Chooses the size of a crop: half of the image, or the whole one."""
    part = 0.5 if is_short else 1.0
    low = _SMALL_CROP_SIDE
    height, width = (
        min(side, _CROP_SIDE, max(low, round(part * side))) for side in size
    )
    return height, width


def _canvas(size: tuple[int, int], stride: int) -> tuple[int, int]:
    height, width = size
    return (
        sizes.legal_canvas(max(1, height), stride),
        sizes.legal_canvas(max(1, width), stride),
    )


def _choose_batch(
    survey: DataSurvey, machine: Machine, cost: Cost, crop: tuple[int, int]
) -> int:
    pixels = crop[0] * crop[1]
    fits = machine.memory_bytes / 2 / (cost.bytes_per_pixel * pixels)
    wanted = min(_MAX_BATCH, max(_MIN_BATCH, round(_STEP_PIXELS / pixels)))
    return max(1, min(wanted, int(fits), survey.num_images[0]))


def _compare_speed(machine: Machine) -> float:
    """Returns the time of a step as a factor of that on two cores."""
    return (2 / min(machine.cores, 16)) ** 0.8


def _choose_steps(
    survey: DataSurvey, batch: int, seconds: float, minutes: float
) -> int:
    most = max(_MIN_STEPS, _MAX_EPOCHS * survey.num_images[0] // batch)
    steps = min(round(60 * minutes / seconds), most)
    return max(10, steps // 10 * 10)
