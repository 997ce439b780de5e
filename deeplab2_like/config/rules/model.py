# SPDX-License-Identifier: Apache-2.0
"""Rules for model_options."""

from collections.abc import Sequence

from deeplab2_like.config import names
from deeplab2_like.config.report import Report
from deeplab2_like.config.rules import Datasets
from deeplab2_like.config.rules import backbone as backbone_rules
from deeplab2_like.config.rules import efficientps as efficientps_rules
from deeplab2_like.config.rules import panoptic_fpn as panoptic_fpn_rules
from deeplab2_like.protos import (
    config_pb2,
    dataset_descriptor_pb2,
    model_pb2,
)

_CENTER_CHANNELS = 1
_REGRESSION_CHANNELS = 2
_NUM_ATROUS_RATES = 3
_SUGGESTED_RATES = {8: "12, 24, 36", 16: "6, 12, 18", 32: "3, 6, 9"}


def complete(model: model_pb2.ModelOptions, num_classes: int) -> None:
    """Fills in the channels that follow from the data set.

    Args:
        model: Options to complete; is changed.
        num_classes: Number of classes of the data set; 0 when not known.
    """
    kind = model.WhichOneof("meta_architecture")
    if kind in ("deeplab_v3", "deeplab_v3_plus"):
        system = getattr(model, kind)
        if num_classes and not system.HasField("num_classes"):
            system.num_classes = num_classes
    if kind != "panoptic_deeplab":
        return
    panoptic = model.panoptic_deeplab
    instance = panoptic.instance
    if panoptic.HasField("semantic_head"):
        _fill_channels(panoptic.semantic_head, num_classes)
    if instance.HasField("center_head"):
        _fill_channels(instance.center_head, _CENTER_CHANNELS)
    if instance.HasField("regression_head"):
        _fill_channels(instance.regression_head, _REGRESSION_CHANNELS)


def _fill_channels(head: model_pb2.HeadOptions, channels: int) -> None:
    if channels and not head.HasField("output_channels"):
        head.output_channels = channels


def check(
    options: config_pb2.ExperimentOptions, datasets: Datasets, report: Report
) -> None:
    """Adds the problems of model_options to a report; see `rules`."""
    if not options.HasField("model_options"):
        fix = "Start from a shipped config; `--list` names them."
        report.add("model_options", None, "a config needs a model", fix)
        return
    model = options.model_options
    _check_backbone(model, report)
    kind = model.WhichOneof("meta_architecture")
    if kind is None:
        known = ", ".join(
            f"{name} {{ ... }}" for name in names.META_ARCHITECTURES
        )
        report.add(
            "model_options",
            "",
            "model_options has no system",
            f"Add one of: {known}.",
        )
        return
    if kind == "panoptic_fpn":
        panoptic_fpn_rules.check(options, datasets, report)
        return
    if kind == "efficientps":
        efficientps_rules.check(options, datasets, report)
        return
    descriptor = datasets.get(options.train_dataset_options.dataset)
    path = "model_options.decoder"
    if not model.HasField("decoder"):
        report.add(path, None, "every system has one", "Add decoder { ... }.")
    else:
        _check_decoder(model.decoder, path, model.backbone, report)
    if kind == "panoptic_deeplab":
        _check_panoptic(model, descriptor, report)
    else:
        _check_semantic_only(model, kind, descriptor, report)


def _check_backbone(model: model_pb2.ModelOptions, report: Report) -> None:
    backbone = model.backbone
    for found in backbone_rules.find_conflicts(backbone):
        path = f"model_options.backbone.{found.field}"
        report.add(path, found.value, found.rule, found.fix)
    _check_frozen(model, report)
    is_published = (
        backbone.name in names.EFFICIENTNETS
        and backbone.activation == names.ACTIVATIONS[0]
    )
    if is_published and not backbone.use_squeeze_and_excite:
        report.warn(
            "model_options.backbone.use_squeeze_and_excite",
            False,
            f"{backbone.name} has no channel gates then, as in EfficientPS; "
            "published weights were trained with them",
            "Write use_squeeze_and_excite: true for the published network.",
        )


def _check_frozen(model: model_pb2.ModelOptions, report: Report) -> None:
    """Warns of initial values that are never trained."""
    if model.initial_checkpoint:
        return
    if model.backbone.freeze_backbone:
        field = "freeze_backbone"
    elif backbone_rules.freezes_batch_norm(model.backbone):
        field = "freeze_batch_norm"
    else:
        return
    report.warn(
        f"model_options.backbone.{field}",
        True,
        "without initial_checkpoint initial values are frozen, which were "
        "never trained",
        f"Set model_options.initial_checkpoint, or write {field}: false.",
    )


def _check_decoder(
    decoder: model_pb2.DecoderOptions,
    path: str,
    backbone: model_pb2.ModelOptions.BackboneOptions,
    report: Report,
) -> None:
    _require(decoder, "feature_key", path, 'usually "res5"', report)
    rates = list(decoder.atrous_rates)
    if decoder.aspp_use_only_1x1_proj_conv:
        if rates:
            report.warn(
                f"{path}.atrous_rates",
                rates,
                "they have no effect with aspp_use_only_1x1_proj_conv: true",
                "Remove them.",
            )
    elif len(rates) != _NUM_ATROUS_RATES:
        suggestion = _SUGGESTED_RATES.get(backbone.output_stride, "6, 12, 18")
        report.add(
            f"{path}.atrous_rates",
            rates or None,
            f"the ASPP has exactly three rates, not {len(rates)}",
            f"For output_stride {backbone.output_stride} write "
            f"atrous_rates: [{suggestion}], or "
            "aspp_use_only_1x1_proj_conv: true for no ASPP.",
        )


def _require(
    message: model_pb2.DecoderOptions
    | model_pb2.LowLevelOptions
    | model_pb2.HeadOptions,
    field: str,
    path: str,
    hint: str,
    report: Report,
) -> None:
    if not message.HasField(field):
        report.add(f"{path}.{field}", None, f"it is required; {hint}")


def _check_low_level(
    low_level: Sequence[model_pb2.LowLevelOptions],
    path: str,
    after: str,
    report: Report,
) -> None:
    """Checks that the resolution rises from feature to feature.

    Args:
        low_level: The features in the order of the decoder.
        path: Path of the list.
        after: Endpoint that the ASPP reads, before the first feature.
        report: Receives the problems.
    """
    previous = after
    for index, feature in enumerate(low_level):
        item = f"{path}[{index}]"
        _require(feature, "feature_key", item, "for example res2", report)
        _require(feature, "channels_project", item, "for example 32", report)
        key = feature.feature_key
        known = previous in names.FEATURE_KEYS and key in names.FEATURE_KEYS
        if known and key >= previous:
            report.add(
                f"{item}.feature_key",
                key,
                f"its resolution is not above that of {previous} before it",
                "List low-level features from low to high resolution, "
                "for example res3, then res2.",
            )
        previous = key


def _check_head(
    holder: model_pb2.ModelOptions.PanopticDeeplabOptions
    | model_pb2.InstanceOptions,
    name: str,
    path: str,
    channels: int,
    why: str,
    report: Report,
) -> None:
    """Checks that a head exists and has the right channels.

    Args:
        holder: Message that holds the head.
        name: Field of the head.
        path: Path of `holder`.
        channels: Required output_channels; 0 when not known.
        why: Reason for `channels`, for the message.
        report: Receives the problems.
    """
    if not holder.HasField(name):
        report.add(
            f"{path}.{name}",
            None,
            "the system needs this head",
            f"Add {name} {{ head_channels: ... }}.",
        )
        return
    head = getattr(holder, name)
    hint = "published models have 256 (semantic) and 32 (instance)"
    _require(head, "head_channels", f"{path}.{name}", hint, report)
    if channels and head.output_channels != channels:
        report.add(
            f"{path}.{name}.output_channels",
            head.output_channels,
            why,
            "Remove the field: the number is filled in.",
        )


def _describe_classes(
    descriptor: dataset_descriptor_pb2.DatasetDescriptor,
) -> str:
    return (
        f'the data set "{descriptor.name}" has {len(descriptor.classes)} '
        "classes"
    )


def _check_panoptic(
    model: model_pb2.ModelOptions,
    descriptor: dataset_descriptor_pb2.DatasetDescriptor | None,
    report: Report,
) -> None:
    path = "model_options.panoptic_deeplab"
    panoptic = model.panoptic_deeplab
    key = model.decoder.feature_key
    if not panoptic.low_level:
        report.add(
            f"{path}.low_level",
            None,
            "the decoder fuses at least one low-level feature",
            'Add low_level { feature_key: "res2" channels_project: 32 }.',
        )
    _check_low_level(panoptic.low_level, f"{path}.low_level", key, report)
    classes = len(descriptor.classes) if descriptor else 0
    why = _describe_classes(descriptor) if descriptor else ""
    _check_head(panoptic, "semantic_head", path, classes, why, report)
    if panoptic.instance.enable:
        _check_instance(model, f"{path}.instance", report)
        things = descriptor and any(c.is_thing for c in descriptor.classes)
        if descriptor and not things:
            report.add(
                f"{path}.instance.enable",
                True,
                f'the data set "{descriptor.name}" has no things',
                "Write instance { enable: false } for a semantic model.",
            )


def _check_instance(
    model: model_pb2.ModelOptions, path: str, report: Report
) -> None:
    instance = model.panoptic_deeplab.instance
    decoder = model.decoder
    if instance.HasField("instance_decoder_override"):
        decoder = instance.instance_decoder_override
        _check_decoder(
            decoder,
            f"{path}.instance_decoder_override",
            model.backbone,
            report,
        )
    _check_low_level(
        instance.low_level_override,
        f"{path}.low_level_override",
        decoder.feature_key,
        report,
    )
    why = "the center heatmap has 1 channel"
    _check_head(instance, "center_head", path, _CENTER_CHANNELS, why, report)
    why = "an offset has 2 channels, y and x"
    _check_head(
        instance, "regression_head", path, _REGRESSION_CHANNELS, why, report
    )


def _check_semantic_only(
    model: model_pb2.ModelOptions,
    kind: str,
    descriptor: dataset_descriptor_pb2.DatasetDescriptor | None,
    report: Report,
) -> None:
    system = getattr(model, kind)
    path = f"model_options.{kind}"
    if descriptor and system.num_classes != len(descriptor.classes):
        report.add(
            f"{path}.num_classes",
            system.num_classes,
            _describe_classes(descriptor),
            "Remove the field: the number is filled in.",
        )
    if kind == "deeplab_v3_plus":
        if not system.HasField("low_level"):
            report.add(
                f"{path}.low_level",
                None,
                "the decoder fuses one low-level feature",
                'Add low_level { feature_key: "res2" channels_project: 48 }.',
            )
            return
        key = model.decoder.feature_key
        feature = system.low_level
        item = f"{path}.low_level"
        _require(feature, "feature_key", item, "usually res2", report)
        _require(feature, "channels_project", item, "usually 48", report)
        if feature.feature_key and key and feature.feature_key >= key:
            report.add(
                f"{item}.feature_key",
                feature.feature_key,
                f"its resolution is not above that of {key} before it",
                "Take res2 or res3.",
            )
