# SPDX-License-Identifier: Apache-2.0
"""EfficientPS, whose objects Mask R-CNN or SOLOv2 finds."""

import keras
import tensorflow as tf

from deeplab2_like.config.decimals import read_decimal
from deeplab2_like.data import descriptor as descriptor_lib
from deeplab2_like.losses import cross_entropy, grid_masks, uncertainty
from deeplab2_like.meta_architectures import contract
from deeplab2_like.meta_architectures.panoptic_fpn import (
    compute_instance_losses,
)
from deeplab2_like.model import build_pyramid, weight_decay
from deeplab2_like.model.layers.log_variances import LOG_VARIANCES
from deeplab2_like.model.layers.resize import (
    resize_align_corners,
    spatial_size,
)
from deeplab2_like.postprocess import efficientps as postprocess_lib
from deeplab2_like.postprocess import fusion, grid_objects
from deeplab2_like.postprocess import panoptic_fpn as objects_lib
from deeplab2_like.postprocess import prediction as prediction_lib
from deeplab2_like.postprocess import rules as rules_lib
from deeplab2_like.protos import config_pb2
from deeplab2_like.targets import boxes_masks, dropped_instances, grid_cells

_SEMANTIC_LOSS = "semantic_loss"
_MASK_RCNN_LOSSES = (
    "proposal_loss",
    "proposal_box_loss",
    "class_loss",
    "box_loss",
    "mask_loss",
)
_SOLOV2_LOSSES = ("cell_loss", "mask_loss")
# Of the smooth absolute error of the boxes of proposals.
_PROPOSAL_BETA = 1.0 / 9.0


class EfficientPS:
    """Objects and classes on a two-way pyramid, fused by what both say.

    Mohan and Valada (arXiv:2004.02307). Implements
    `contract.MetaArchitecture`.
    """

    has_instances = True

    def __init__(
        self,
        options: config_pb2.ExperimentOptions,
        descriptor: descriptor_lib.DatasetDescriptor,
    ):
        """Takes a checked config and the data set that it is for."""
        self.descriptor = descriptor
        self._options = options
        self._system = options.model_options.efficientps
        self.output_stride = options.model_options.backbone.output_stride
        self._has_semantic = self._system.semantic.enable
        self._has_cells = self._system.WhichOneof("instance") == "solov2"
        branch = (
            self._system.solov2 if self._has_cells else self._system.mask_rcnn
        )
        self._branch = branch
        self._cell_rules = self._make_cell_rules()

    def _make_cell_rules(self) -> grid_cells.GridRules:
        """Gives which cells learn from which objects."""
        options = self._system.solov2
        smallest, largest = zip(*grid_cells.RANGES, strict=True)
        return grid_cells.GridRules(
            grids=list(options.grid) or grid_cells.GRIDS,
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
        """Gives the function that makes classes, instances, and cells."""
        del is_training
        descriptor = self.descriptor
        channels = list(range(descriptor.num_classes))
        max_instances = self._branch.max_instances
        notice = dropped_instances.DroppedInstancesNotice(max_instances)
        names = ["instance"] + ["semantic"] * self._has_semantic
        if not self._has_cells:
            names += ["boxes", "box_class"]

        def make_targets(panoptic_hw: tf.Tensor) -> dict[str, tf.Tensor]:
            targets = boxes_masks.compute_box_mask_targets(
                panoptic_hw,
                thing_ids=descriptor.thing_ids,
                ignore_label=descriptor.ignore_label,
                label_divisor=descriptor.label_divisor,
                max_instances=max_instances,
                channels=channels,
            )
            with tf.control_dependencies(
                [notice.watch(targets["num_dropped"])]
            ):
                made = {name: tf.identity(targets[name]) for name in names}
            if not self._has_cells:
                return made
            return made | self._make_cell_targets(targets)

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
        return grid_cells.compute_cell_targets(objects, size, self._cell_rules)

    def build_model(self, *, synchronize_batch_norm: bool) -> keras.Model:
        """Builds the network with all its variables."""
        loss_options = self._options.trainer_options.loss_options
        return build_pyramid.build_pyramid_model(
            self._options.model_options,
            self._options.trainer_options.solver_options,
            num_channels=self.descriptor.num_classes,
            num_things=len(self.descriptor.thing_ids),
            weighed_losses=(
                self._loss_names() if loss_options.learn_weights else ()
            ),
            synchronize_batch_norm=synchronize_batch_norm,
        )

    def _loss_names(self) -> list[str]:
        """Lists the losses of the branches."""
        names = [_SEMANTIC_LOSS] if self._has_semantic else []
        return [
            *names,
            *(_SOLOV2_LOSSES if self._has_cells else _MASK_RCNN_LOSSES),
        ]

    def infer(
        self,
        model: keras.Model,
        images: tf.Tensor,
        *,
        targets: contract.Tensors | None = None,
    ) -> contract.Tensors:
        """Finds objects and classes."""
        return model(images, targets=targets, training=False)

    def infer_for_training(
        self,
        model: keras.Model,
        images: tf.Tensor,
        targets: contract.Tensors,
    ) -> contract.Tensors:
        """Runs the network, and chooses what to learn from."""
        return model(images, targets=targets, training=True)

    def compute_losses(
        self, outputs: contract.Tensors, targets: contract.Tensors
    ) -> dict[str, tf.Tensor]:
        """Computes the losses of both branches."""
        options = self._options.trainer_options.loss_options
        losses: dict[str, tf.Tensor] = {}
        if self._has_semantic:
            losses[_SEMANTIC_LOSS] = self._compute_semantic_loss(
                outputs["semantic_logits"], targets["semantic"]
            )
        if self._has_cells:
            losses |= _compute_cell_losses(outputs, targets)
        else:
            losses |= compute_instance_losses(
                outputs, proposal_beta=_PROPOSAL_BETA
            )
        weighed = {
            name: getattr(options, name).weight * losses[name]
            for name in self._loss_names()
        }
        if LOG_VARIANCES not in outputs:
            return weighed
        return uncertainty.weigh_losses(
            weighed,
            self._loss_names(),
            outputs[LOG_VARIANCES],
            regressions={"proposal_box_loss", "box_loss"},
        )

    def _compute_semantic_loss(
        self, logits: tf.Tensor, labels: tf.Tensor
    ) -> tf.Tensor:
        size = labels.shape[1:3]
        if None in size:
            size = tf.shape(labels)[1:3]
        logits = resize_align_corners(logits, size)
        loss = self._options.trainer_options.loss_options.semantic_loss
        share = read_decimal(loss.top_k_percent)
        if share < 1.0:
            return cross_entropy.compute_hardest_cross_entropy(
                logits,
                labels,
                ignore_label=boxes_masks.NO_CHANNEL,
                share=share,
            )
        return cross_entropy.compute_mean_cross_entropy(
            logits, labels, ignore_label=boxes_masks.NO_CHANNEL
        )

    def variable_groups(
        self, model: keras.Model
    ) -> dict[str, list[keras.Variable]]:
        """Gives the variables of backbone, pyramid, branches, last layers."""
        groups = {
            "backbone": list(model.backbone.variables),
            "pyramid": list(model.pyramid.variables),
        }
        if model.semantic_branch is not None:
            last = model.semantic_branch.last_layer
            groups["semantic_last_layer"] = list(last.variables)
        instance = model.instance_branch
        layers = (
            [instance.cells.classes]
            if self._has_cells
            else [
                instance.box_head.classes,
                instance.box_head.codes,
                instance.mask_head.last_layer,
            ]
        )
        groups["instance_last_layer"] = [
            v for layer in layers for v in layer.variables
        ]
        taken = {id(v) for group in groups.values() for v in group}
        groups["branches"] = [v for v in model.variables if id(v) not in taken]
        return groups

    def decayed_variables(self, model: keras.Model) -> list[keras.Variable]:
        """Gives the kernels of convolutions and dense layers."""
        return weight_decay.decayed_variables(model)

    def postprocess(
        self,
        outputs: contract.Tensors,
        canvas_size: tuple[int, int] | tf.Tensor,
        valid_size: tf.Tensor | None = None,
    ) -> prediction_lib.Prediction:
        """Fuses masks with the classes."""
        things = self.descriptor.thing_ids
        logits = outputs.get("semantic_logits")
        channel_classes = range(self.descriptor.num_classes)
        if logits is None:
            # What is known of no pixel says nothing for or against a mask.
            some = outputs["cell_logits" if self._has_cells else "boxes"]
            logits = tf.zeros([tf.shape(some)[0], 1, 1, 1])
            channel_classes = range(things[0], things[0] + 1)
        task = postprocess_lib.Task(
            channel_classes=channel_classes,
            size=objects_lib.unpack_size(canvas_size),
            class_rules=self._make_class_rules(),
            fusion_rules=fusion.FusionRules(
                score_threshold=read_decimal(
                    self._branch.merge_score_threshold
                ),
                overlap_threshold=read_decimal(
                    self._branch.merge_overlap_threshold
                ),
                mask_logit_scale=read_decimal(self._system.mask_logit_scale),
            ),
        )
        if self._has_cells:
            return postprocess_lib.postprocess_cells(
                logits,
                postprocess_lib.Cells(
                    outputs["cell_logits"],
                    outputs["cell_kernels"],
                    outputs["mask_features"],
                ),
                task,
                self._make_object_rules(),
                valid_size=valid_size,
            )
        return postprocess_lib.postprocess(
            logits,
            objects_lib.Objects(
                boxes=outputs["boxes"],
                category=tf.gather(list(things), outputs["box_class"]),
                score=outputs["box_score"],
                is_valid=outputs["is_box"],
                masks=outputs["masks"],
            ),
            task,
            valid_size=valid_size,
        )

    def _make_class_rules(self) -> rules_lib.ClassRules:
        return rules_lib.ClassRules(
            num_classes=self.descriptor.num_classes,
            thing_ids=tuple(self.descriptor.thing_ids),
            ignore_label=self.descriptor.ignore_label,
            label_divisor=self.descriptor.label_divisor,
            stuff_area_limit=self._options.evaluator_options.stuff_area_limit,
        )

    def _make_object_rules(self) -> grid_objects.GridObjectRules:
        """Gives which cells become objects."""
        options = self._system.solov2
        return grid_objects.GridObjectRules(
            grids=tuple(self._cell_rules.grids),
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
    is_mask = targets["is_mask"]
    size = spatial_size(outputs["mask_features"])
    size = size if isinstance(size, tuple) else tf.unstack(size)
    shrunk = grid_cells.shrink_instances(targets["instance"], size)
    return {
        "cell_loss": grid_masks.compute_cell_loss(
            outputs["cell_logits"],
            targets["cell_class"],
            tf.reduce_sum(tf.cast(is_mask, tf.int32), axis=1),
        ),
        "mask_loss": grid_masks.compute_mask_loss(
            outputs["mask_logits"],
            grid_cells.compute_mask_targets(shrunk, targets["mask_slot"]),
            is_mask,
        ),
    }
