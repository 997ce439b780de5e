# SPDX-License-Identifier: Apache-2.0
"""EfficientPS, with Mask R-CNN or SOLOv2 as its instance branch."""

from typing import Any

import tensorflow as tf

from deeplab2_like.config import solov2_grids
from deeplab2_like.config.decimals import read_decimal
from deeplab2_like.config.rules import pyramid as pyramid_rules
from deeplab2_like.losses import cross_entropy, detection, grid_masks
from deeplab2_like.meta_architectures import contract, pyramid_system
from deeplab2_like.model.decoders.feature_pyramid import level_size
from deeplab2_like.postprocess import efficientps as postprocess_lib
from deeplab2_like.postprocess import objects, prediction
from deeplab2_like.postprocess import options as postprocess_options
from deeplab2_like.targets import boxes_masks, grid_cells

# Of the smooth absolute error of the boxes of proposals.
_PROPOSAL_BETA = 1.0 / 9.0


class EfficientPS(pyramid_system.PyramidSystem):
    """Objects and classes on a two-way pyramid, fused by their logits.

    Mohan and Valada (arXiv:2004.02307).
    """

    def _read_options(self) -> None:
        """Reads the options of this system."""
        options = self._system
        self._has_cells = options.WhichOneof("instance") == "solov2"
        branch = "solov2" if self._has_cells else "mask_rcnn"
        self._instance = getattr(options, branch)
        self._instance_path = f"model_options.efficientps.{branch}"
        self._channel_classes = tuple(range(self.descriptor.num_classes))
        self._target_rules = self._make_target_rules()
        self._fusion_rules = postprocess_options.FusionRules(
            **self._merge_thresholds(),
            mask_logit_scale=read_decimal(options.mask_logit_scale),
        )

    def _make_target_rules(self) -> grid_cells.GridRules:
        """Returns which cells learn from which objects."""
        options = self._system.solov2
        smallest, largest = zip(*solov2_grids.RANGES, strict=True)
        return grid_cells.GridRules(
            grids=list(options.grid) or solov2_grids.GRIDS,
            ranges=list(
                zip(
                    options.smallest_size or smallest,
                    options.largest_size or largest,
                    strict=True,
                )
            ),
            max_pairs=options.max_masks,
        )

    def target_maker(self, *, is_training: bool) -> contract.MakeTargets:
        """Returns the function from a label to classes, instances and cells."""
        make_boxes = super().target_maker(is_training=is_training)
        if not self._has_cells:
            return make_boxes

        def make_targets(panoptic_hw: tf.Tensor) -> dict[str, tf.Tensor]:
            targets = make_boxes(panoptic_hw)
            cells = self._make_cell_targets(targets)
            for name in ("boxes", "box_class"):
                del targets[name]
            return targets | cells

        return make_targets

    def _make_cell_targets(
        self, targets: dict[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """Makes the targets of the cells from boxes and the instance map."""
        instance = targets["instance"]
        slots = targets["box_class"].shape[0]
        objects = grid_cells.Objects(
            grid_cells.find_centers(instance, slots),
            targets["boxes"],
            targets["box_class"],
        )
        size = tf.unstack(tf.shape(instance))
        return grid_cells.compute_cell_targets(
            objects, size, self._target_rules
        )

    def _loss_names(self) -> list[str]:
        """Lists the losses of the branches."""
        return [
            *(pyramid_rules.SEMANTIC_LOSSES if self._has_semantic else ()),
            *(
                pyramid_rules.SOLOV2_LOSSES
                if self._has_cells
                else pyramid_rules.MASK_RCNN_LOSSES
            ),
        ]

    def _compute_parts(
        self, outputs: contract.Tensors, targets: contract.Tensors
    ) -> dict[str, tf.Tensor]:
        """Computes the losses of both branches."""
        losses: dict[str, tf.Tensor] = {}
        if self._has_semantic:
            losses["semantic_loss"] = self._compute_semantic_loss(
                outputs, targets
            )
        if self._has_cells:
            return losses | _compute_cell_losses(outputs, targets)
        return losses | detection.compute_instance_losses(
            outputs, proposal_beta=_PROPOSAL_BETA
        )

    def _compute_semantic_loss(
        self, outputs: contract.Tensors, targets: contract.Tensors
    ) -> tf.Tensor:
        logits = pyramid_system.resize_to_labels(outputs, targets)
        labels = targets["semantic"]
        share = read_decimal(self._loss_options.semantic_loss.top_k_percent)
        rules: dict[str, Any] = {
            "ignore_label": boxes_masks.NO_CHANNEL,
            "class_weights": self._channel_weights(),
        }
        if share < 1.0:
            return cross_entropy.compute_hardest_cross_entropy(
                logits, labels, share=share, **rules
            )
        return cross_entropy.compute_mean_cross_entropy(logits, labels, **rules)

    def _postprocess(
        self,
        outputs: contract.Tensors,
        thresholds: contract.Tensors | None,
        **shared: Any,
    ) -> prediction.Prediction:
        """Fuses the masks of objects with the classes."""
        logits = outputs.get("semantic_logits")
        rules = self._apply_thresholds(self._fusion_rules, thresholds)
        if self._has_cells:
            return postprocess_lib.postprocess_cells(
                logits,
                objects.Cells(
                    outputs["cell_logits"],
                    outputs["cell_kernels"],
                    outputs["mask_features"],
                ),
                **shared,
                fusion_rules=rules,
                cell_rules=self._make_cell_rules(),
            )
        return postprocess_lib.postprocess(
            logits,
            self._name_objects(outputs),
            **shared,
            fusion_rules=rules,
        )

    def _make_cell_rules(self) -> postprocess_options.CellRules:
        """Returns which cells become objects."""
        options = self._system.solov2
        return postprocess_options.CellRules(
            grids=tuple(self._target_rules.grids),
            smallest_masks=(
                tuple(options.smallest_mask) or solov2_grids.SMALLEST_MASKS
            ),
            score_threshold=read_decimal(options.cell_score_threshold),
            candidates=options.candidates,
            decay=options.decay,
            final_threshold=read_decimal(options.detection_score_threshold),
            max_objects=options.max_detections,
        )


def _compute_cell_losses(
    outputs: contract.Tensors, targets: contract.Tensors
) -> dict[str, tf.Tensor]:
    """Computes the losses of SOLOv2."""
    size = tuple(level_size(outputs["mask_features"]))
    masks = grid_cells.compute_mask_targets(
        grid_cells.shrink_instances(targets["instance"], size),
        targets["mask_slot"],
    )
    return {
        "cell_loss": grid_masks.compute_cell_loss(
            outputs["cell_logits"],
            targets["cell_class"],
            targets["num_pairs"],
        ),
        "mask_loss": grid_masks.compute_mask_loss(
            outputs["mask_logits"], masks, targets["is_mask"]
        ),
    }
