# SPDX-License-Identifier: Apache-2.0
"""Rules for single fields.

`SCALARS` has a rule for every scalar field of the schema, free ones included,
so that a new field without a rule fails a test. `REFUSED_MESSAGES` are the
messages of systems that this package does not have.
"""

import dataclasses
import math
import re

from deeplab2_like.config import names
from deeplab2_like.config.problems import describe_nearest


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers between two ends, which are included unless open."""

    low: float = -math.inf
    high: float = math.inf
    low_is_open: bool = False
    high_is_open: bool = False

    def check(self, value: float) -> str:
        """Returns "" for a legal value, else what is allowed."""
        above = value > self.low if self.low_is_open else value >= self.low
        below = value < self.high if self.high_is_open else value <= self.high
        if math.isfinite(value) and above and below:
            return ""
        return f"it must be {self.describe()}"

    def describe(self) -> str:
        """Describes what is allowed."""
        if math.isinf(self.high) and math.isinf(self.low):
            return "a finite number"
        if math.isinf(self.high):
            return f"{'above' if self.low_is_open else 'at least'} {self.low:g}"
        opening = "(" if self.low_is_open else "["
        closing = ")" if self.high_is_open else "]"
        return f"in {opening}{self.low:g}, {self.high:g}{closing}"


@dataclasses.dataclass(frozen=True)
class OneOf:
    """Names or numbers of a list."""

    allowed: tuple[str, ...] | tuple[int, ...]

    def check(self, value: str | int) -> str:
        """Returns "" for a legal value, else what is allowed."""
        if value in self.allowed:
            return ""
        if isinstance(value, str):
            known = [str(name) for name in self.allowed]
            return f"known: {describe_nearest(value, known)}"
        return f"it must be {self.describe()}"

    def describe(self) -> str:
        """Describes what is allowed."""
        return " or ".join(
            [", ".join(map(str, self.allowed[:-1])), str(self.allowed[-1])]
        )


@dataclasses.dataclass(frozen=True)
class AutoAugmentPolicy:
    """A policy name of deeplab2, or none."""

    def check(self, value: str) -> str:
        """Returns "" for a legal value, else what is allowed."""
        scaled = r"simple_classification_policy(_magnitude_scale_\d+(\.\d+)?)?"
        if not value or re.fullmatch(scaled, value):
            return ""
        return f"known: {describe_nearest(value, names.AUTOAUGMENT_POLICIES)}"

    def describe(self) -> str:
        """Describes what is allowed."""
        return "empty, or " + " or ".join(names.AUTOAUGMENT_POLICIES)


@dataclasses.dataclass(frozen=True)
class MinusOneOr:
    """-1 for "no bound", or a number that another rule allows."""

    rule: Range

    def check(self, value: float) -> str:
        """Returns "" for a legal value, else what is allowed."""
        if value == -1 or not self.rule.check(value):
            return ""
        return f"it must be {self.describe()}"

    def describe(self) -> str:
        """Describes what is allowed."""
        return f"-1, or {self.rule.describe()}"


@dataclasses.dataclass(frozen=True)
class Free:
    """Any value of the field's type."""

    def check(self, _: object) -> str:
        """Returns ""."""
        return ""

    def describe(self) -> str:
        """Describes what is allowed."""
        return "any value"


@dataclasses.dataclass(frozen=True)
class Refused:
    """Only the default: the field belongs to a system that does not exist."""

    system: str
    default: object = None

    def check(self, value: object) -> str:
        """Returns "" for the default, else why another value is refused."""
        if value == self.default:
            return ""
        return f"it belongs to {self.system}, which this package does not have"

    def describe(self) -> str:
        """Describes what is allowed."""
        return f"its default only ({self.system} is not supported)"


Rule = Range | OneOf | MinusOneOr | AutoAugmentPolicy | Free | Refused

_ABOVE_ZERO = Range(0, low_is_open=True)
_COUNT = Range(1)
_FROM_ZERO = Range(0)
_CHANNELS = Range(1, 16384)
_FRACTION = Range(0, 1)
_TOP = Range(0, 1, low_is_open=True)
_BELOW_ONE = Range(0, 1, high_is_open=True)
_BETWEEN = Range(0, 1, low_is_open=True, high_is_open=True)
_SIDE = Range(1, 16385)
_RESIZE = Range(0, 16385)

_MODEL: dict[str, Rule] = {
    "DecoderOptions.feature_key": OneOf(names.FEATURE_KEYS),
    "DecoderOptions.decoder_channels": _CHANNELS,
    "DecoderOptions.aspp_channels": _CHANNELS,
    "DecoderOptions.atrous_rates": Range(1, 1024),
    "DecoderOptions.decoder_conv_type": OneOf(names.CONV_TYPES),
    "DecoderOptions.aspp_use_only_1x1_proj_conv": Free(),
    "LowLevelOptions.feature_key": OneOf(names.FEATURE_KEYS),
    "LowLevelOptions.channels_project": _CHANNELS,
    "HeadOptions.output_channels": _CHANNELS,
    "HeadOptions.head_channels": _CHANNELS,
    "HeadOptions.head_conv_type": OneOf(names.CONV_TYPES),
    "HeadOptions.max_value_after_activation": Refused("ViP-DeepLab", 0.0),
    "HeadOptions.min_value_after_activation": Refused("ViP-DeepLab", 0.0),
    "InstanceOptions.enable": Free(),
    "BackboneOptions.name": OneOf(names.BACKBONES),
    "BackboneOptions.output_stride": OneOf(names.OUTPUT_STRIDES),
    "BackboneOptions.pretrained_weights": Refused("kMaX-DeepLab", ""),
    "BackboneOptions.use_squeeze_and_excite": Free(),
    "BackboneOptions.drop_path_keep_prob": _TOP,
    "BackboneOptions.drop_path_schedule": OneOf(names.DROP_PATH_SCHEDULES),
    "BackboneOptions.stem_width_multiplier": Range(0, 64, low_is_open=True),
    "BackboneOptions.backbone_width_multiplier": Range(0, 64, low_is_open=True),
    "BackboneOptions.backbone_layer_multiplier": Range(0, 64, low_is_open=True),
    "BackboneOptions.use_sac_beyond_stride": OneOf((-1, 4, 8, 16, 32)),
    "BackboneOptions.recompute": Free(),
    "BackboneOptions.activation": OneOf(names.ACTIVATIONS),
    "BackboneOptions.padding": OneOf(names.PADDINGS),
    "BackboneOptions.graph": OneOf(names.GRAPHS),
    "BackboneOptions.freeze_backbone": Free(),
    "BackboneOptions.freeze_batch_norm": Free(),
    "DeeplabV3Options.num_classes": _CHANNELS,
    "DeeplabV3PlusOptions.num_classes": _CHANNELS,
    "PanopticFpnOptions.pyramid_channels": _CHANNELS,
    "SemanticBranchOptions.enable": Free(),
    "SemanticBranchOptions.channels": _CHANNELS,
    "SemanticBranchOptions.separate_things": Free(),
    "InstanceBranchOptions.enable": Free(),
    "InstanceBranchOptions.anchor_size": Range(0, 16384, low_is_open=True),
    "InstanceBranchOptions.anchor_ratio": Range(0, 64, low_is_open=True),
    "InstanceBranchOptions.channels": _CHANNELS,
    "InstanceBranchOptions.box_head_units": _CHANNELS,
    "InstanceBranchOptions.mask_head_convolutions": Range(1, 64),
    "InstanceBranchOptions.max_instances": Range(1, 4096),
    "InstanceBranchOptions.anchor_samples": Range(1, 65536),
    "InstanceBranchOptions.region_samples": Range(4, 65536),
    "InstanceBranchOptions.train_level_proposals": Range(1, 65536),
    "InstanceBranchOptions.level_proposals": Range(1, 65536),
    "InstanceBranchOptions.num_proposals": Range(1, 65536),
    "InstanceBranchOptions.detection_score_threshold": _FRACTION,
    "InstanceBranchOptions.max_detections": Range(1, 1000),
    "InstanceBranchOptions.merge_score_threshold": _FRACTION,
    "InstanceBranchOptions.merge_overlap_threshold": _FRACTION,
    "InstanceBranchOptions.sampling_points": Range(1, 16),
    "InstanceBranchOptions.adaptive_sampling": Free(),
    "EfficientPsOptions.pyramid_channels": _CHANNELS,
    "EfficientPsOptions.pyramid_conv_type": OneOf(names.CONV_TYPES),
    "EfficientPsOptions.mask_logit_scale": Range(0, 64, low_is_open=True),
    "ContextBranchOptions.enable": Free(),
    "ContextBranchOptions.channels": _CHANNELS,
    "GridBranchOptions.grid": Range(1, 256),
    "GridBranchOptions.smallest_size": Range(0, 16384),
    "GridBranchOptions.largest_size": Range(0, 16384, low_is_open=True),
    "GridBranchOptions.smallest_mask": _FROM_ZERO,
    "GridBranchOptions.channels": _CHANNELS,
    "GridBranchOptions.convolutions": Range(1, 64),
    "GridBranchOptions.mask_channels": _CHANNELS,
    "GridBranchOptions.mask_branch_channels": _CHANNELS,
    "GridBranchOptions.max_instances": Range(1, 4096),
    "GridBranchOptions.max_masks": Range(1, 65536),
    "GridBranchOptions.cell_score_threshold": _FRACTION,
    "GridBranchOptions.candidates": Range(1, 4096),
    "GridBranchOptions.decay": OneOf(names.DECAYS),
    "GridBranchOptions.detection_score_threshold": _FRACTION,
    "GridBranchOptions.max_detections": Range(1, 1000),
    "GridBranchOptions.merge_score_threshold": _FRACTION,
    "GridBranchOptions.merge_overlap_threshold": _FRACTION,
    "ModelOptions.initial_checkpoint": Free(),
    "ModelOptions.restore_semantic_last_layer_from_initial_checkpoint": Free(),
    "ModelOptions.restore_instance_last_layer_from_initial_checkpoint": Free(),
}
_TRAINER: dict[str, Rule] = {
    "SolverOptions.use_sync_batchnorm": Free(),
    "SolverOptions.learning_policy": OneOf(names.LEARNING_POLICIES),
    "SolverOptions.base_learning_rate": _ABOVE_ZERO,
    "SolverOptions.poly_learning_power": _FROM_ZERO,
    "SolverOptions.poly_end_learning_rate": _FROM_ZERO,
    "SolverOptions.warmup_steps": _FROM_ZERO,
    "SolverOptions.optimizer": OneOf(names.OPTIMIZERS),
    "SolverOptions.weight_decay": _FROM_ZERO,
    "SolverOptions.use_gradient_clipping": Free(),
    "SolverOptions.clip_gradient_norm": _ABOVE_ZERO,
    "SolverOptions.training_number_of_steps": _COUNT,
    "SolverOptions.batchnorm_momentum": _BELOW_ONE,
    "SolverOptions.batchnorm_epsilon": _ABOVE_ZERO,
    "SolverOptions.backbone_learning_rate_multiplier": _FROM_ZERO,
    "SolverOptions.adamw_weight_decay": _FROM_ZERO,
    "SolverOptions.ema_decay": _BELOW_ONE,
    "SolverOptions.max_replica_batch_size": _FROM_ZERO,
    "SingleLossOptions.name": OneOf(
        names.SEMANTIC_LOSSES + names.DENSE_LOSSES + names.OTHER_LOSSES
    ),
    "SingleLossOptions.weight": _FROM_ZERO,
    "SingleLossOptions.top_k_percent": _TOP,
    "SingleLossOptions.class_weights": _ABOVE_ZERO,
    "SingleLossOptions.balance": Free(),
    "SingleLossOptions.max_class_weight": _ABOVE_ZERO,
    "ClassWeight.name": Free(),
    "ClassWeight.weight": _ABOVE_ZERO,
    "LossOptions.learn_weights": Free(),
    "TrainerOptions.num_checkpoints_to_keep": _COUNT,
    "TrainerOptions.save_checkpoints_steps": _COUNT,
    "TrainerOptions.save_summaries_steps": _COUNT,
    "TrainerOptions.steps_per_loop": _COUNT,
    "TrainerOptions.seed": _FROM_ZERO,
    "TrainerOptions.deterministic": Free(),
    "TrainerOptions.compute_precision": OneOf(names.COMPUTE_PRECISIONS),
    "TrainerOptions.keep_optimizer": Free(),
    "TrainerOptions.early_stopping_evaluations": _FROM_ZERO,
    "TrainerOptions.async_checkpoints": Free(),
    "WatchdogOptions.compile_seconds": _FROM_ZERO,
    "WatchdogOptions.step_seconds": _FROM_ZERO,
    "WatchdogOptions.save_seconds": _FROM_ZERO,
    "WatchdogOptions.evaluation_seconds": _FROM_ZERO,
}
_DATASET: dict[str, Rule] = {
    # Its names are the files of configs/datasets: the loader checks them.
    "DatasetOptions.dataset": Free(),
    "DatasetOptions.file_pattern": Free(),
    "DatasetOptions.batch_size": Range(1, 1 << 20),
    "DatasetOptions.crop_size": _SIDE,
    "DatasetOptions.min_resize_value": _RESIZE,
    "DatasetOptions.max_resize_value": _RESIZE,
    "DatasetOptions.resize_factor": _SIDE,
    "AugmentationOptions.min_scale_factor": Range(0, 64, low_is_open=True),
    "AugmentationOptions.max_scale_factor": Range(0, 64, low_is_open=True),
    "AugmentationOptions.scale_factor_step_size": _FROM_ZERO,
    "AugmentationOptions.autoaugment_policy_name": AutoAugmentPolicy(),
    "PanopticCopyPasteOptions.panoptic_copy_paste_scale": Refused(
        "kMaX-DeepLab", 0.0
    ),
    "PanopticCopyPasteOptions.panoptic_copy_paste_thing_option": Free(),
    "PanopticCopyPasteOptions.panoptic_copy_paste_stuff_option": Free(),
    "PanopticCopyPasteOptions.panoptic_copy_paste_void_option": Free(),
    "ColorJitterOptions.brightness": _FRACTION,
    "ColorJitterOptions.contrast": _FRACTION,
    "ColorJitterOptions.saturation": _FRACTION,
    "ColorJitterOptions.hue": Range(0, 0.5),
    "CopyPasteOptions.probability": _FRACTION,
    "CopyPasteOptions.max_instances": Range(1, 4096),
    "RotationOptions.max_degrees": Range(0, 45),
    "RotationOptions.probability": _FRACTION,
    "BlurOptions.probability": _FRACTION,
    "BlurOptions.min_sigma": Range(0.05, 16),
    "BlurOptions.max_sigma": Range(0.05, 16),
    "AugmentationOptions.gray_probability": _FRACTION,
    "AugmentationOptions.scale_area_bias": Range(-4, 4),
    "DatasetOptions.sigma": Range(0, 512, low_is_open=True),
    "DatasetOptions.increase_small_instance_weights": Free(),
    "DatasetOptions.small_instance_threshold": _FROM_ZERO,
    "DatasetOptions.small_instance_weight": _ABOVE_ZERO,
    "DatasetOptions.use_two_frames": Refused("Motion-DeepLab", False),
    "DatasetOptions.decode_groundtruth_label": Free(),
    "DatasetOptions.thing_id_mask_annotations": Refused("MaX-DeepLab", False),
    "DatasetOptions.max_thing_id": _COUNT,
    "DatasetOptions.use_next_frame": Refused("ViP-DeepLab", False),
    "DatasetOptions.cameras_to_use": Refused("the Waymo data of ViP-DeepLab"),
    "DatasetOptions.input_scale_factor": Range(0.25, 8),
    "DatasetOptions.pad_to_multiple_of": Range(0, 16384),
    "DatasetOptions.padding_mode": Free(),
    "DatasetOptions.shuffle_buffer_size": _COUNT,
    "DatasetOptions.on_damage": Free(),
    "DatasetOptions.mixed_file_pattern": Free(),
    "DatasetOptions.mixed_share": _BETWEEN,
    "DatasetOptions.canvas_remainder": OneOf((0, 1)),
    "DatasetOptions.padding_color": Range(0, 255),
}
_EVALUATOR: dict[str, Rule] = {
    "EvaluatorOptions.eval_steps": MinusOneOr(_COUNT),
    "EvaluatorOptions.eval_interval": _COUNT,
    "EvaluatorOptions.continuous_eval_timeout": MinusOneOr(_FROM_ZERO),
    "EvaluatorOptions.use_tf_function": Free(),
    "EvaluatorOptions.add_flipped_images": Free(),
    "EvaluatorOptions.stuff_area_limit": _FROM_ZERO,
    "EvaluatorOptions.center_score_threshold": _FRACTION,
    "EvaluatorOptions.nms_kernel": Range(1, 1025),
    # <= 0 means the largest number that the post-processing supports.
    "EvaluatorOptions.keep_k_centers": Free(),
    "EvaluatorOptions.save_predictions": Free(),
    "EvaluatorOptions.override_save_dir": Free(),
    "EvaluatorOptions.num_vis_samples": _FROM_ZERO,
    "EvaluatorOptions.save_raw_predictions": Free(),
    "EvaluatorOptions.convert_raw_to_eval_ids": Free(),
    "EvaluatorOptions.eval_scales": Range(0, 8, low_is_open=True),
    "EvaluatorOptions.merge_semantic_and_instance_with_tf_op": Free(),
    "EvaluatorOptions.raw_panoptic_format": OneOf(
        tuple(names.RAW_PANOPTIC_FORMATS)
    ),
    "EvaluatorOptions.detailed_ap_metrics": Free(),
    "EvaluatorOptions.thing_area_limit": Refused("MaX-DeepLab", 0),
    "EvaluatorOptions.transformer_class_confidence_threshold": _FRACTION,
    "EvaluatorOptions.pixel_confidence_threshold": _FRACTION,
    "EvaluatorOptions.transformer_post_processing": Refused(
        "kMaX-DeepLab", "pixelwise"
    ),
    "EvaluatorOptions.pq_variant": Free(),
    "EvaluatorOptions.max_pixels": _FROM_ZERO,
}
_DESCRIPTOR: dict[str, Rule] = {
    "ClassDescriptor.name": Free(),
    "ClassDescriptor.is_thing": Free(),
    "ClassDescriptor.category_id": Range(0, (1 << 24) - 1),
    "ClassDescriptor.color": Range(0, 255),
    "DatasetDescriptor.name": Free(),
    "DatasetDescriptor.alias": Free(),
    "DatasetDescriptor.description": Free(),
    "DatasetDescriptor.ignore_label": Range(0, 65535),
    "DatasetDescriptor.label_divisor": Range(2, 1 << 24),
}
_SEMI_SUPERVISED: dict[str, Rule] = {
    "SemiSupervisedOptions.method": Free(),
    "SemiSupervisedOptions.unlabeled_pattern": Free(),
    "NaiveStudentOptions.rounds": _COUNT,
    "NaiveStudentOptions.student_start": Free(),
    "NaiveStudentOptions.student_initial_checkpoint": Free(),
    "NaiveStudentOptions.pseudo_share": _BETWEEN,
    "NaiveStudentOptions.student_steps": _FROM_ZERO,
    "NaiveStudentOptions.fine_tuning_steps": _FROM_ZERO,
    "NaiveStudentOptions.fine_tuning_learning_rate": _FROM_ZERO,
    "NaiveStudentOptions.label_scales": Range(0, 8, low_is_open=True),
    "NaiveStudentOptions.label_mirrored": Free(),
    "NaiveStudentOptions.confidence_threshold": _BELOW_ONE,
    "NaiveStudentOptions.class_balance": _FRACTION,
    "NaiveStudentOptions.ignore_mask": Free(),
}
_CONSISTENCY: dict[str, Rule] = {
    "ConsistencyOptions.confidence_threshold": _FRACTION,
    "ConsistencyOptions.batch_size": Range(0, 1 << 20),
    "ConsistencyOptions.class_weight": _FROM_ZERO,
    "ConsistencyOptions.center_weight": _FROM_ZERO,
    "ConsistencyOptions.offset_weight": _FROM_ZERO,
    "ConsistencyOptions.ramp_up_steps": _FROM_ZERO,
    "ConsistencyOptions.min_scale": Range(0, 4, low_is_open=True),
    "ConsistencyOptions.max_scale": Range(0, 4, low_is_open=True),
    "ConsistencyOptions.mirror_probability": _FRACTION,
    "ConsistencyOptions.gray_probability": _FRACTION,
    "ConsistencyOptions.cut_mix_probability": _FRACTION,
    "ConsistencyOptions.feature_dropout_rate": _BELOW_ONE,
}
SCALARS: dict[str, Rule] = {
    "ExperimentOptions.experiment_name": Free(),
    **_MODEL,
    **_TRAINER,
    **_DATASET,
    **_EVALUATOR,
    **_SEMI_SUPERVISED,
    **_CONSISTENCY,
    **_DESCRIPTOR,
}

REFUSED_MESSAGES: dict[str, str] = {
    "ModelOptions.motion_deeplab": "Motion-DeepLab",
    "ModelOptions.max_deeplab": "MaX-DeepLab",
    "ModelOptions.vip_deeplab": "ViP-DeepLab",
    "InstanceOptions.next_regression_head": "ViP-DeepLab",
    "PanopticDeeplabOptions.depth_head": "ViP-DeepLab",
    "LossOptions.motion_loss": "Motion-DeepLab",
    "LossOptions.next_regression_loss": "ViP-DeepLab",
    "LossOptions.pq_style_loss": "MaX-DeepLab",
    "LossOptions.mask_id_cross_entropy_loss": "MaX-DeepLab",
    "LossOptions.instance_discrimination_loss": "MaX-DeepLab",
    "LossOptions.depth_loss": "ViP-DeepLab",
    "EvaluatorOptions.maskwise_postprocessing": "kMaX-DeepLab",
}
