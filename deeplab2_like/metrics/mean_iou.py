# SPDX-License-Identifier: Apache-2.0
"""Mean intersection over union of semantic segmentation."""

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.metrics import image_counts, overlaps


@dataclasses.dataclass(frozen=True)
class MeanIoUResult:
    """Mean IoU of a set of images, with the confusion matrix.

    Attributes:
        miou: Mean of the IoU over the classes that occur in the labeled part
            of the ground truth or in the predictions there; 0 if no class
            does (as in Keras' MeanIoU).
        per_class: float64 [C], in 0..1; NaN for a class that does not occur.
        confusion: int64 [C, C], pixels by true (row) and predicted class.
        pixel_accuracy: Share of the labeled pixels whose class is right; NaN
            if no pixel is labeled.
        num_images: Images that were compared.
        warnings: Sentences about values that are not defined.
    """

    miou: float
    per_class: npt.NDArray[np.float64]
    confusion: npt.NDArray[np.int64]
    pixel_accuracy: float
    num_images: int
    warnings: tuple[str, ...] = ()

    def scalars(self) -> dict[str, float]:
        """Returns the main numbers by name."""
        return {"mIoU": self.miou, "pixel_accuracy": self.pixel_accuracy}


class MeanIoU(image_counts.ImageCounts):
    """Mean IoU of class maps; the state is one confusion matrix.

        truth = np.array([[0, 0, 1, 255]])  # sky, sky, road and void
        iou = MeanIoU(descriptor.make(["sky", "road"], []))
        iou.update(truth, np.array([[0, 0, 1, 1]]))
        print(iou.result().miou)

    The classes of a panoptic label are `label // label_divisor`, those of a
    model's prediction are `PanopticResult.semantic()`.

    Pixels whose true class is `ignore_label` do not count. A pixel predicted
    as void, where void is no class index, is wrong for its true class and
    counts for no other. The values are those of deeplab2 and Keras where those
    are defined.

    Attributes:
        class_names: C names, of the rows of the result.
    """

    def __init__(self, descriptor: DatasetDescriptor):
        """Creates an accumulator without images.

        Args:
            descriptor: The data set of the classes, of which it has C.
        """
        self._num_classes = num_classes = descriptor.num_classes
        self._ignore_label = descriptor.ignore_label
        self.class_names = descriptor.class_names
        # The last column holds pixels predicted as void.
        super().__init__(np.zeros((num_classes, num_classes + 1), np.int64))

    def merge(self, other: "MeanIoU") -> None:
        """Adds the images of another accumulator of the same data set.

        Raises:
            ConfigError: The other one has another number of classes.
        """
        if other._counts.shape != self._counts.shape:
            raise errors.ConfigError(
                f"mIoU of {other._num_classes} classes cannot be merged into "
                f"mIoU of {self._num_classes} classes. Create both from the "
                "same descriptor."
            )
        self._counts += other._counts
        self._num_images += other._num_images

    def result(self) -> MeanIoUResult:
        """Returns the values of all images so far; changes nothing."""
        confusion = self._counts[:, : self._num_classes]
        correct = np.diagonal(confusion).astype(np.float64)
        union = self._counts.sum(1) + confusion.sum(0) - correct
        occurs = union > 0
        per_class = np.full(self._num_classes, np.nan)
        per_class[occurs] = correct[occurs] / union[occurs]
        labeled = int(self._counts.sum())
        if not labeled:
            warning = "No pixel of the ground truth is labelled: mIoU is 0."
            return MeanIoUResult(
                0.0,
                per_class,
                confusion.copy(),
                math.nan,
                self._num_images,
                (warning,),
            )
        return MeanIoUResult(
            float(per_class[occurs].mean()),
            per_class,
            confusion.copy(),
            float(correct.sum()) / labeled,
            self._num_images,
        )

    def _add_image(self, name: str, found: overlaps.Overlaps) -> None:
        self._check(f"The ground truth of image {name}", found.true_ids)
        self._check(f"The prediction for image {name}", found.predicted_ids)
        rows = found.true_ids[found.true_index]
        columns = found.predicted_ids[found.predicted_index]
        in_range = (columns >= 0) & (columns < self._num_classes)
        columns = np.where(in_range, columns, self._num_classes)
        counts = rows != self._ignore_label
        np.add.at(
            self._counts,
            (rows[counts], columns[counts]),
            found.areas[counts],
        )

    def _check(self, what: str, classes: npt.NDArray[np.int64]) -> None:
        is_legal = (classes >= 0) & (classes < self._num_classes)
        is_legal |= classes == self._ignore_label
        if not is_legal.all():
            raise errors.DataError(
                f"{what} has the class {classes[~is_legal][0]}. Classes are "
                f"0..{self._num_classes - 1} and {self._ignore_label} (void): "
                "correct the labels or the data set descriptor."
            )
