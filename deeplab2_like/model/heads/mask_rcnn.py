# SPDX-License-Identifier: Apache-2.0
"""Mask R-CNN on a feature pyramid: the instance branch of several systems.

Two ways through the same three heads: `_infer`, from the pyramid to objects,
and `_train`, from the pyramid and the true objects to the inputs of the losses.

B images; P proposals; M slots for true objects; K chosen anchors or RoIs;
C thing classes; D detections.
"""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from deeplab2_like.detection import anchors as anchors_lib
from deeplab2_like.detection import boxes as boxes_lib
from deeplab2_like.detection import matching, proposals, sampling
from deeplab2_like.graph import exact_floats
from deeplab2_like.model.decoders.feature_pyramid import LEVELS, STRIDES
from deeplab2_like.model.heads.mask_rcnn_options import InstanceOptions
from deeplab2_like.model.heads.roi_heads import BoxHead, MaskHead, ProposalHead
from deeplab2_like.model.layers import roi_align

Tensors = Mapping[str, tf.Tensor]

# As in detectron2, (y, x, height, width): standard deviations .1 and .2.
BOX_CODE_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
_BOX_BINS = 7
_MASK_BINS = 14
# Points of a bin along an axis at which masks to learn from are read.
_TARGET_POINTS = 2


@keras.saving.register_keras_serializable("deeplab2_like")
class InstanceBranch(keras.layers.Layer):
    """Boxes, classes and masks of objects.

    He et al., ICCV 2017 (arXiv:1703.06870).

    Args:
        options: Fields of `InstanceOptions` by name.
    """

    def __init__(self, options: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self._config = dict(options)
        self.options = InstanceOptions(**options)
        o = self.options
        policy: dict[str, Any] = {"dtype": self.dtype_policy}
        convs = policy | {"separable": o.separable, "batch_norm": o.batch_norm}
        self.proposal_head = ProposalHead(
            len(o.anchor_ratios),
            o.filters,
            name="proposals",
            **convs,
        )
        self.box_head = BoxHead(o.num_classes, o.units, name="boxes", **policy)
        self.mask_head = MaskHead(
            o.num_classes,
            o.filters,
            num_convs=o.mask_convs,
            name="masks",
            **convs,
        )
        self.seeds = keras.random.SeedGenerator()

    @property
    def _anchor_levels(self) -> list[str]:
        """The levels that have anchors, the finest first."""
        return list(STRIDES)[: len(self.options.anchor_sizes)]

    @property
    def last_layers(self) -> tuple[keras.layers.Layer, ...]:
        """The layers whose shape depends on the classes."""
        return (
            self.box_head.classes,
            self.box_head.codes,
            self.mask_head.last_layer,
        )

    def build(self, input_shape):
        """Makes the variables for shapes [B, h, w, C] of the pyramid."""
        channels = input_shape[LEVELS[0]][-1]
        shape = (None, None, None, channels)
        self.proposal_head.build(dict.fromkeys(self._anchor_levels, shape))
        self.box_head.build((None, _BOX_BINS, _BOX_BINS, channels))
        self.mask_head.build((None, _MASK_BINS, _MASK_BINS, channels))

    def call(self, levels, size, targets=None, training=None):
        """Returns the outputs of `_infer`, of `_train`, or of both.

        Args:
            levels: float [B, h, w, channels] of each level of the pyramid.
            size: (height, width) of the images, numbers or int32 scalars.
            targets: See `_train`; None: inference alone.
            training: Whether inference is left out.
        """
        predictions = self._predict_anchors(levels)
        outputs: dict[str, tf.Tensor] = {}
        if not training:
            outputs |= self._infer(levels, predictions, size)
        if targets is not None:
            seeds = self._draw_seeds(is_fixed=not training)
            outputs |= self._train(levels, predictions, size, targets, seeds)
        return outputs

    def _predict_anchors(self, levels: Tensors) -> list[proposals.Level]:
        """Applies the proposal head to each level."""
        predictions = []
        o = self.options
        names = self._anchor_levels
        outputs = self.proposal_head({name: levels[name] for name in names})
        for name, side in zip(names, o.anchor_sizes, strict=True):
            x, stride = levels[name], STRIDES[name]
            objectness, codes = outputs[name]
            known = x.shape[1:3].as_list()
            shape = known if None not in known else tf.unstack(tf.shape(x)[1:3])
            anchors = anchors_lib.make_anchors(
                shape, stride, [side], o.anchor_ratios
            )
            number = anchors.shape[0] or -1
            batch = tf.shape(x)[0]
            predictions.append(
                proposals.Level(
                    tf.reshape(objectness, [batch, number]),
                    tf.reshape(codes, [batch, number, 4]),
                    anchors,
                )
            )
        return predictions

    def _select_proposals(
        self, predictions, size, *, is_training: bool
    ) -> proposals.Proposals:
        """Returns the proposals; no gradient goes through them."""
        index = 0 if is_training else 1
        o = self.options
        batch = tf.shape(predictions[0].objectness)[0]
        return proposals.select_proposals(
            [
                proposals.Level(*map(tf.stop_gradient, level))
                for level in predictions
            ],
            tf.broadcast_to(tf.stack(size), [batch, 2]),
            level_limit=o.level_proposals[index],
            limit=o.num_proposals[index],
            overlap_threshold=o.proposal_overlap,
        )

    def _pool_rois(self, levels: Tensors, boxes_bk4: tf.Tensor, bins: int):
        """Returns the features of RoIs: [B * K, bins, bins, channels]."""
        features = [levels[name] for name in LEVELS]
        pooled = roi_align.align_regions(
            features,
            boxes_bk4,
            roi_align.choose_levels(boxes_bk4, len(features)),
            strides=[STRIDES[name] for name in LEVELS],
            sampling=roi_align.Sampling(
                bins,
                self.options.sampling_points,
                is_adaptive=self.options.adaptive_sampling,
            ),
        )
        return tf.reshape(pooled, [-1, bins, bins, pooled.shape[-1]])

    def _predict_boxes(
        self, levels: Tensors, boxes_bk4: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns class logits [B, K, C + 1] and box codes [B, K, C, 4]."""
        number, classes = boxes_bk4.shape[1], self.options.num_classes
        rois = self._pool_rois(levels, boxes_bk4, _BOX_BINS)
        logits, codes = self.box_head(rois)
        return (
            tf.reshape(logits, [-1, number, classes + 1]),
            tf.reshape(codes, [-1, number, classes, 4]),
        )

    def _predict_masks(
        self, levels: Tensors, boxes_bk4: tf.Tensor, category_bk: tf.Tensor
    ) -> tf.Tensor:
        """Returns the mask logits of one class: float32 [B, K, 28, 28]."""
        rois = self._pool_rois(levels, boxes_bk4, _MASK_BINS)
        logits = self.mask_head(rois)
        chosen = tf.one_hot(
            tf.reshape(category_bk, [-1]), self.options.num_classes
        )
        # A choice and no product, so that infinite logits of other classes do
        # not count.
        is_chosen = chosen[:, tf.newaxis, tf.newaxis] > 0.0
        logits = tf.reduce_sum(tf.where(is_chosen, logits, 0.0), axis=-1)
        side = 2 * _MASK_BINS
        return tf.reshape(logits, [-1, boxes_bk4.shape[1], side, side])

    def _infer(self, levels, predictions, size) -> dict[str, tf.Tensor]:
        """Detects objects.

        Returns:
            boxes float32 [B, D, 4] in pixels of the image, box_class int32
            [B, D], box_score float32 [B, D], is_box bool [B, D] and masks
            float32 [B, D, 28, 28], probabilities (or logits, see
            `InstanceOptions`) in the frames of the boxes.
        """
        o = self.options
        rois = self._select_proposals(predictions, size, is_training=False)
        logits, codes = self._predict_boxes(levels, rois.boxes)
        batch = tf.shape(logits)[0]
        objects = proposals.select_detections(
            logits,
            codes,
            rois,
            tf.broadcast_to(tf.stack(size), [batch, 2]),
            proposals.DetectionRules(
                code_weights=BOX_CODE_WEIGHTS,
                score_threshold=o.score_threshold,
                overlap_threshold=o.detection_overlap,
                candidate_limit=o.candidates,
                limit=o.max_detections,
            ),
        )
        masks = self._predict_masks(levels, objects.boxes, objects.category)
        return {
            "boxes": objects.boxes,
            "box_class": objects.category,
            "box_score": objects.score,
            "is_box": objects.is_valid,
            "masks": (
                masks if o.gives_mask_logits else exact_floats.sigmoid(masks)
            ),
        }

    def _train(
        self, levels, predictions, size, targets, seeds
    ) -> dict[str, tf.Tensor]:
        """Samples anchors and RoIs to learn from, and predicts for them.

        Args:
            levels: See `call`.
            predictions: Predictions for the anchors of each level.
            size: (height, width) of the images.
            targets: {"boxes": float32 [B, M, 4], "box_class": int32 [B, M] (-1
                in empty slots), "instance": int32 [B, H, W] (1 + slot)}.
            seeds: int32 [2, 2], seeds of the two samples.

        Returns:
            The inputs of `losses.detection`; see `_train_anchors` and
            `_train_rois`.
        """
        rois = self._select_proposals(predictions, size, is_training=True)
        return {
            **self._train_anchors(predictions, targets, seeds[0]),
            **self._train_rois(levels, rois, targets, seeds[1]),
        }

    def _train_anchors(
        self, predictions, targets, seed
    ) -> dict[str, tf.Tensor]:
        """Returns predictions and targets of K anchors of each image.

        Returns:
            anchor_logits float32 [B, K], anchor_codes and
            anchor_code_targets float32 [B, K, 4], anchor_is_object and
            anchor_is_chosen bool [B, K].
        """
        o = self.options
        anchors = tf.concat([level.anchors for level in predictions], axis=0)
        is_true = targets["box_class"] >= 0
        matches = matching.match_boxes(
            anchors[tf.newaxis],
            targets["boxes"],
            is_true,
            positive_overlap=0.7,
            negative_overlap=0.3,
            takes_best=True,
        )
        sample = sampling.sample_balanced(
            matches.label,
            seed,
            num_samples=o.anchor_samples,
            positive_share=0.5,
        )
        last = tf.shape(anchors)[0] - 1
        index = tf.minimum(sample.index, last)
        objectness = tf.concat([x.objectness for x in predictions], axis=1)
        codes = tf.concat([x.codes for x in predictions], axis=1)
        true_index = tf.gather(matches.index, index, batch_dims=1)
        return {
            "anchor_logits": tf.gather(objectness, index, batch_dims=1),
            "anchor_codes": tf.gather(codes, index, batch_dims=1),
            "anchor_code_targets": boxes_lib.encode(
                tf.gather(targets["boxes"], true_index, batch_dims=1),
                tf.gather(anchors, index),
                proposals.PROPOSAL_WEIGHTS,
            ),
            "anchor_is_object": sample.is_positive,
            "anchor_is_chosen": sample.is_chosen,
        }

    def _train_rois(self, levels, rois, targets, seed) -> dict[str, tf.Tensor]:
        """Returns predictions and targets of K RoIs of each image.

        Returns:
            region_logits float32 [B, K, C + 1], region_class int32 [B, K] (C
            for background), region_codes and region_code_targets float32
            [B, K, 4], region_is_object and region_is_chosen bool [B, K]; for
            the first k of them, which include all objects, mask_logits and
            mask_targets float32 [B, k, 28, 28] and mask_is_object bool [B, k].
        """
        o = self.options
        sample, boxes, true_index = self._sample_rois(rois, targets, seed)
        logits, codes = self._predict_boxes(levels, boxes)
        true_class = tf.gather(targets["box_class"], true_index, batch_dims=1)
        true_class = tf.where(sample.is_positive, true_class, o.num_classes)
        known = tf.minimum(true_class, o.num_classes - 1)
        number = max(1, int(o.region_samples * o.positive_share))
        first = boxes[:, :number]
        shares = roi_align.align_labels(
            targets["instance"],
            first,
            1 + true_index[:, :number],
            roi_align.Sampling(2 * _MASK_BINS, _TARGET_POINTS),
        )
        return {
            "region_logits": logits,
            "region_class": true_class,
            "region_codes": tf.gather(codes, known, batch_dims=2),
            "region_code_targets": boxes_lib.encode(
                tf.gather(targets["boxes"], true_index, batch_dims=1),
                boxes,
                BOX_CODE_WEIGHTS,
            ),
            "region_is_object": sample.is_positive,
            "region_is_chosen": sample.is_chosen,
            "mask_logits": self._predict_masks(
                levels, first, known[:, :number]
            ),
            "mask_targets": tf.cast(shares >= 0.5, tf.float32),
            "mask_is_object": sample.is_positive[:, :number],
        }

    def _sample_rois(self, rois, targets, seed):
        """Samples RoIs: the sample, boxes [B, K, 4], true slots [B, K].

        True boxes are RoIs too, so that there are positive ones from the
        beginning of training on.
        """
        o = self.options
        is_true = targets["box_class"] >= 0
        boxes = tf.concat([rois.boxes, targets["boxes"]], axis=1)
        is_valid = tf.concat([rois.is_valid, is_true], axis=1)
        matches = matching.match_boxes(
            boxes,
            targets["boxes"],
            is_true,
            positive_overlap=0.5,
            negative_overlap=0.5,
            takes_best=False,
        )
        sample = sampling.sample_balanced(
            tf.where(is_valid, matches.label, matching.NEITHER),
            seed,
            num_samples=o.region_samples,
            positive_share=o.positive_share,
        )
        index = tf.minimum(sample.index, boxes.shape[1] - 1)
        return (
            sample,
            tf.gather(boxes, index, batch_dims=1),
            tf.gather(matches.index, index, batch_dims=1),
        )

    def _draw_seeds(self, *, is_fixed: bool) -> tf.Tensor:
        """Returns int32 [2, 2], two seeds; the same ones in evaluation."""
        if is_fixed:
            return tf.constant([[0, 1], [2, 3]])
        seeds = [self.seeds.next() for _ in range(2)]
        return tf.cast(tf.reshape(tf.stack(seeds), [2, 2]), tf.int32)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {"options": dict(self._config)}
