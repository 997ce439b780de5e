# SPDX-License-Identifier: Apache-2.0
"""Writes the config of a model that was converted.

It computes what the model computed in its library, and trains it further as
that library does, as far as this package can.
"""

import dataclasses
from collections.abc import Sequence

from deeplab2_like.checkpoints.peers import panoptic_deeplab, panoptic_fpn
from deeplab2_like.config import textproto

_HEADER = """\
# proto-file: deeplab2_like/protos/config.proto
# proto-message: ExperimentOptions
#
# {title} with {backbone}, whose weights were converted from
# {source}.
#
# Evaluate:  VAL_SET='/data/val-*' deeplab2-evaluate --model_dir=FOLDER \\
#              --config_file=THIS_FILE    (FOLDER: where the checkpoint is)
# Export:    deeplab2-export --config_file=THIS_FILE --checkpoint=CHECKPOINT \\
#              --out=SAVED
# Fine-tune: TRAIN_SET='/data/train-*' VAL_SET='/data/val-*' \\
#              deeplab2-train --config_file=THIS_FILE --model_dir=NEW_FOLDER
"""

_PANOPTIC_DEEPLAB = """
experiment_name: {name}
model_options {{
  # The converted weights, which fine-tuning starts from.
  initial_checkpoint: {checkpoint}
  backbone {{
    name: "{backbone}"
    output_stride: {stride}
    # Stride in the 3x3 convolutions, epsilon of batch norm 1e-5.
    graph: "torchvision"
  }}
  decoder {{
    feature_key: "res5"
    decoder_channels: {semantic.channels}
    aspp_channels: {semantic.aspp_channels}
    atrous_rates: {rates}
  }}
  panoptic_deeplab {{
{low_level}
{instance}
    semantic_head {{ head_channels: {semantic.head_channels[0]} }}
  }}
}}
trainer_options {{
  save_checkpoints_steps: 1000
  save_summaries_steps: 100
  steps_per_loop: 100
  loss_options {{
    semantic_loss {{ name: "softmax_cross_entropy" top_k_percent: 0.2 }}
{losses}  }}
  solver_options {{
    # Of the heads and decoders.
    batchnorm_epsilon: 0.00001
    base_learning_rate: 0.00005
    training_number_of_steps: 90000
  }}
}}
train_dataset_options {{
  dataset: "{data.dataset}"
  file_pattern: "${{TRAIN_SET}}"
  # Of all replicas together: lower it, and the learning rate in proportion,
  # for fewer or smaller accelerators.
  batch_size: 8
  # Its size is the window of the pooling branch of the ASPP, in evaluation too:
  # this is the whole image, as in the evaluation of the model's own library.
  crop_size: {data.crop}
{data.resizing}  augmentations {{
    min_scale_factor: 0.5
    max_scale_factor: 2.0
    scale_factor_step_size: 0.1
  }}
  # The mean color, which the backbone's normalization takes to 0.
  padding_color: [123, 116, 103]
{weights}}}
eval_dataset_options {{
  dataset: "{data.dataset}"
  file_pattern: "${{VAL_SET}}"
  batch_size: 1
  crop_size: {data.crop}
{data.resizing}  padding_color: [123, 116, 103]
{weights}}}
evaluator_options {{
  stuff_area_limit: {data.stuff_area}
{centers}}}
"""
_INSTANCE = """\
    instance {{
{low_level}
      instance_decoder_override {{
        feature_key: "res5"
        decoder_channels: {branch.channels}
        aspp_channels: {branch.aspp_channels}
        atrous_rates: {rates}
      }}
      center_head {{ head_channels: {branch.head_channels[0]} }}
      regression_head {{ head_channels: {branch.head_channels[1]} }}
    }}"""
_CENTER_LOSSES = """\
    center_loss { name: "mse" weight: 200 }
    regression_loss { name: "l1" weight: 0.01 }
"""
_CENTERS = """\
  center_score_threshold: 0.1
  nms_kernel: {data.nms_kernel}
  keep_k_centers: 200
"""
_SMALL_INSTANCES = """\
  increase_small_instance_weights: true
  small_instance_weight: 3.0
"""

_PANOPTIC_FPN = """
experiment_name: {name}
model_options {{
  # The converted weights, which fine-tuning starts from.
  initial_checkpoint: {checkpoint}
  backbone {{
    name: "{sizes.backbone}"
    output_stride: 32
    # Stride in the first 1x1 convolutions, frozen batch norms. Files that were
    # trained from torchvision's weights (STRIDE_IN_1X1: False) need
    # "torchvision" when they are converted, by --config_override.
    graph: "detectron2"
  }}
  panoptic_fpn {{
    pyramid_channels: {sizes.pyramid_channels}
    semantic {{ channels: {sizes.semantic_channels} }}
    instance {{
      channels: {sizes.head_channels}
      box_head_units: {sizes.box_head_units}
      mask_head_convolutions: {sizes.mask_convolutions}
      # Points of RoIAlign: as many as a bin covers pixels, up to 12 along an
      # axis, which only very long regions exceed. Fewer cost less: 6 are enough
      # for regions up to twice as long as wide.
      sampling_points: 12
      adaptive_sampling: true
    }}
  }}
}}
trainer_options {{
  save_checkpoints_steps: 1000
  save_summaries_steps: 100
  steps_per_loop: 100
  loss_options {{
    semantic_loss {{ name: "softmax_cross_entropy" weight: 0.5 }}
    proposal_loss {{ name: "sigmoid_cross_entropy" }}
    proposal_box_loss {{ name: "l1" }}
    class_loss {{ name: "softmax_cross_entropy" }}
    box_loss {{ name: "l1" }}
    mask_loss {{ name: "sigmoid_cross_entropy" }}
  }}
  solver_options {{
    optimizer: "sgd"
    # A tenth of what the model was trained with.
    base_learning_rate: 0.002
    learning_policy: "cosine"
    warmup_steps: 1000
    weight_decay: 0.0001
    training_number_of_steps: 90000
  }}
}}
train_dataset_options {{
  dataset: "coco_panoptic"
  file_pattern: "${{TRAIN_SET}}"
  # Of all replicas together: lower it, and the learning rate in proportion,
  # for fewer or smaller accelerators.
  batch_size: 16
  crop_size: [1344, 1344]
  # Canvases are k * 32 pixels, and have the mean color outside of the image,
  # which the backbone's normalization takes to 0.
  canvas_remainder: 0
  padding_color: [123.675, 116.28, 103.53]
  # The shorter side becomes 800 pixels, the longer one at most 1333.
  min_resize_value: 800
  max_resize_value: 1333
  augmentations {{
    min_scale_factor: 0.8
    max_scale_factor: 1.0
    scale_factor_step_size: 0.05
  }}
}}
eval_dataset_options {{
  dataset: "coco_panoptic"
  file_pattern: "${{VAL_SET}}"
  batch_size: 1
  # The smallest canvas: every image gets the smallest one that holds it.
  crop_size: [32, 32]
  pad_to_multiple_of: 32
  canvas_remainder: 0
  padding_color: [123.675, 116.28, 103.53]
  min_resize_value: 800
  max_resize_value: 1333
}}
evaluator_options {{
  eval_interval: 10000
  stuff_area_limit: 4096
}}
"""


@dataclasses.dataclass(frozen=True)
class _DataSet:
    """What a config says about the images of a data set."""

    dataset: str
    crop: list[int]
    stuff_area: int
    nms_kernel: int
    resizing: str = ""


_DATA_SETS = {
    data.dataset: data
    for data in (
        _DataSet("cityscapes_panoptic", [1025, 2049], 2048, 7),
        _DataSet(
            "coco_panoptic",
            [641, 641],
            4096,
            41,
            "  # The longer side becomes 641 pixels.\n"
            "  min_resize_value: 641\n  max_resize_value: 641\n",
        ),
    )
}


def write_panoptic_deeplab(
    sizes: panoptic_deeplab.Sizes,
    *,
    dataset: str,
    source: str,
    checkpoint: str,
) -> str:
    """Writes the config of a Panoptic-DeepLab.

    Args:
        sizes: Result of `panoptic_deeplab.measure`.
        dataset: "cityscapes_panoptic" or "coco_panoptic".
        source: Name of the file.
        checkpoint: Path of the converted checkpoint.
    """
    rates = list(panoptic_deeplab.RATES[sizes.output_stride])
    data = _DATA_SETS[dataset]
    branch = sizes.instance
    instance = "    instance { enable: false }"
    if branch is not None:
        low_level = _list_low_level(
            "      low_level_override", branch.low_level
        )
        instance = _INSTANCE.format(
            branch=branch, low_level=low_level, rates=rates
        )
    return _head("Panoptic-DeepLab", sizes.backbone, source) + (
        _PANOPTIC_DEEPLAB.format(
            name=_quote(f"panoptic_deeplab_{sizes.backbone}_{dataset}"),
            checkpoint=_quote(checkpoint),
            backbone=sizes.backbone,
            stride=sizes.output_stride,
            semantic=sizes.semantic,
            rates=rates,
            low_level=_list_low_level(
                "    low_level", sizes.semantic.low_level
            ),
            instance=instance,
            data=data,
            losses=_CENTER_LOSSES if branch else "",
            weights=_SMALL_INSTANCES if branch else "",
            centers=_CENTERS.format(data=data) if branch else "",
        )
    )


def write_panoptic_fpn(
    sizes: panoptic_fpn.Sizes, *, source: str, checkpoint: str
) -> str:
    """Writes the config of a Panoptic FPN for COCO; see the other one."""
    return _head("Panoptic FPN", sizes.backbone, source) + _PANOPTIC_FPN.format(
        name=_quote(f"panoptic_fpn_{sizes.backbone}_coco_panoptic"),
        checkpoint=_quote(checkpoint),
        sizes=sizes,
    )


def _head(title: str, backbone: str, source: str) -> str:
    # A comment ends with its line.
    source = "".join(c if c.isprintable() else "?" for c in source)
    return _HEADER.format(title=title, backbone=backbone, source=source)


def _list_low_level(field: str, levels: Sequence[tuple[str, int]]) -> str:
    return "\n".join(
        f'{field} {{ feature_key: "{key}" channels_project: {channels} }}'
        for key, channels in levels
    )


def _quote(text: str) -> str:
    return textproto.quote(text)
