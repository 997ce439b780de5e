# SPDX-License-Identifier: Apache-2.0
"""How images are labelled, checked without TensorFlow."""

import dataclasses
import re

from deeplab2_like import errors

_SPLIT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.]*")


@dataclasses.dataclass(frozen=True)
class LabelOptions:
    """How images are labelled.

    Attributes:
        scales: Scales at which images are predicted and averaged; () for 1.
        mirrored: Whether each is also predicted mirrored.
        confidence_threshold: Least probability of pixels that get a label, in
            [0, 1).
        class_balance: Share of the pixels of each class that keep their label,
            those of highest probability, in (0, 1].
        ignore_mask: Image of what is never labelled; "" for none.
        split: Names of record files begin with it.
        num_shards: Files; 0 for as many as suit the number of images.
        num_samples: Images on the page of the report.
        val_patterns: Records of the validation set, whose images are refused;
            None for those of the config of the model, () for none.
    """

    scales: tuple[float, ...] = ()
    mirrored: bool = False
    confidence_threshold: float = 0.0
    class_balance: float = 1.0
    ignore_mask: str = ""
    split: str = "pseudo"
    num_shards: int = 0
    num_samples: int = 24
    val_patterns: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            ConfigError: A value is not allowed.
        """
        if not all(0 < scale <= 8 for scale in self.scales):
            shown = ",".join(f"{scale:g}" for scale in self.scales)
            raise errors.ConfigError(
                f"--scales={shown} has a scale that is not in (0, 8]. Give "
                "for example --scales=0.75,1,1.25."
            )
        if not 0 <= self.confidence_threshold < 1:
            raise errors.ConfigError(
                f"--confidence_threshold={self.confidence_threshold:g} must be "
                "in [0, 1): pixels of lower probability get no label."
            )
        if not 0 < self.class_balance <= 1:
            raise errors.ConfigError(
                f"--class_balance={self.class_balance:g} must be in (0, 1]: "
                "the share of the pixels of each class that keep their label."
            )
        if not _SPLIT.fullmatch(self.split):
            raise errors.ConfigError(
                f"--split={self.split!r} cannot begin names of files. Give "
                "letters, digits and _, for example --split=pseudo."
            )

    @property
    def selects_pixels(self) -> bool:
        """Whether probabilities decide which pixels get a label."""
        return self.confidence_threshold > 0 or self.class_balance < 1

    def count_shards(self, num_images: int) -> int:
        """Returns the number of record files for a number of images.

        By default of 25 to 100 images each: a kill loses a part of one.
        """
        most = max(16, -(-num_images // 100))
        return self.num_shards or min(max(1, num_images // 25), most)

    def deciding(self) -> tuple[object, ...]:
        """Returns the options that decide about the labels."""
        return (
            self.scales or (1.0,),
            self.mirrored,
            self.confidence_threshold,
            self.class_balance,
        )
