# SPDX-License-Identifier: Apache-2.0
"""Fields of `backbone` that each network supports.

The config check and the building of models both use these rules.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping

from deeplab2_like.config import names
from deeplab2_like.protos import model_pb2

_Backbone = model_pb2.ModelOptions.BackboneOptions


@dataclasses.dataclass(frozen=True)
class Finding:
    """A value that the named network does not support.

    Attributes:
        field: Field of `backbone`.
        value: Value of the field.
        rule: What is allowed, and why.
        fix: How to correct it.
    """

    field: str
    value: object
    rule: str
    fix: str


# Fields besides name and output_stride, with the value that has no effect.
_PLAIN: Mapping[str, object] = {
    "use_squeeze_and_excite": False,
    "drop_path_keep_prob": 1.0,
    "drop_path_schedule": "constant",
    "stem_width_multiplier": 1.0,
    "backbone_width_multiplier": 1.0,
    "backbone_layer_multiplier": 1.0,
    "use_sac_beyond_stride": -1,
    "recompute": False,
    "activation": "swish",
    "padding": "",
}
_RESNET_FIELDS = frozenset(_PLAIN) - {"activation", "padding"}
# They have no 3x3 convolutions to switch.
_FULLY_AXIAL_FIELDS = _RESNET_FIELDS - {"use_sac_beyond_stride"}
_LITE_FIELDS = frozenset(
    {"drop_path_keep_prob", "drop_path_schedule", "activation", "padding"}
)
_EFFICIENTNET_FIELDS = _LITE_FIELDS | {"use_squeeze_and_excite"}
_SUPPORTED: Mapping[str, frozenset[str]] = {
    "resnet50": _RESNET_FIELDS,
    "resnet50_beta": _RESNET_FIELDS,
    "resnet101": _RESNET_FIELDS,
    "resnet101_beta": _RESNET_FIELDS,
    "wide_resnet41": _RESNET_FIELDS,
    "swidernet": _RESNET_FIELDS,
    "axial_swidernet": _RESNET_FIELDS,
    "axial_resnet_s": _FULLY_AXIAL_FIELDS,
    "axial_resnet_l": _FULLY_AXIAL_FIELDS,
    "axial_deeplab_s": _FULLY_AXIAL_FIELDS,
    "axial_deeplab_l": _FULLY_AXIAL_FIELDS,
    "max_deeplab_s_backbone": _RESNET_FIELDS,
    "max_deeplab_l_backbone": _RESNET_FIELDS,
    "mobilenet_v3_large": frozenset({"use_squeeze_and_excite"}),
    "mobilenet_v3_small": frozenset({"use_squeeze_and_excite"}),
    **dict.fromkeys(names.EFFICIENTNETS, _EFFICIENTNET_FIELDS),
    **dict.fromkeys(names.EFFICIENTNET_LITES, _LITE_FIELDS),
}
_MASK_TRANSFORMERS = ("max_deeplab_s", "max_deeplab_l")
# The largest stride at which there are 3x3 convolutions, where it is not 32.
_LAST_SAC_STRIDE: Mapping[str, int] = {
    "axial_swidernet": 16,
    "max_deeplab_s_backbone": 16,
    "max_deeplab_l_backbone": 16,
}
# Channels of the keys of axial attention as a factor of those of a stage, and
# the stages' channels.
_ATTENTION: Mapping[str, tuple[int, tuple[int, ...]]] = {
    "axial_swidernet": (2, (256, 512)),
    "axial_resnet_s": (1, (64, 128, 256, 512)),
    "axial_resnet_l": (1, (64, 128, 256, 512)),
    "axial_deeplab_s": (1, (64, 128, 256, 512)),
    "axial_deeplab_l": (1, (64, 128, 256, 512)),
    "max_deeplab_s_backbone": (1, (256, 512)),
    "max_deeplab_l_backbone": (2, (256, 512)),
}
_OWN_WIDTH: Mapping[str, float] = {
    "axial_resnet_s": 0.5,
    "axial_deeplab_s": 0.5,
}
_NUM_HEADS = 8


def find_conflicts(options: _Backbone) -> Iterator[Finding]:
    """Yields the values that the named network does not support.

    Args:
        options: The backbone. Values that are illegal by themselves are left
            to `rules.fields`.
    """
    name = options.name
    if name in _MASK_TRANSFORMERS:
        instead = f"{name}_backbone"
        yield Finding(
            "name",
            name,
            f"{name} is MaX-DeepLab with its mask transformer, which this "
            "package does not have",
            f'Write name: "{instead}".',
        )
        return
    if name in names.MOBILENETS and not options.use_squeeze_and_excite:
        yield Finding(
            "use_squeeze_and_excite",
            False,
            f"{name} exists only with squeeze-and-excite",
            "Write use_squeeze_and_excite: true.",
        )
    yield from _find_unsupported(options)
    yield from _find_other_graph(options)
    yield from _find_axial_switch(options)
    yield from _find_uneven_heads(options)


def freezes_batch_norm(options: _Backbone) -> bool:
    """Returns whether the batch norms of a backbone are frozen."""
    if options.HasField("freeze_batch_norm"):
        return options.freeze_batch_norm
    return options.graph in names.FROZEN_GRAPHS


def _find_unsupported(options: _Backbone) -> Iterator[Finding]:
    """Yields the fields that the network does not have at all."""
    supported = _SUPPORTED.get(options.name, frozenset())
    for field, plain in _PLAIN.items():
        value = getattr(options, field)
        if field not in supported and value != plain:
            yield Finding(
                field,
                value,
                f"{options.name} does not have it",
                "Remove the field.",
            )


def _find_other_graph(options: _Backbone) -> Iterator[Finding]:
    """Yields a graph that the network does not have."""
    known = (names.GRAPHS[0], *names.OTHER_GRAPHS.get(options.name, ()))
    if options.graph not in known and options.graph in names.GRAPHS:
        yield Finding(
            "graph",
            options.graph,
            f"{options.name} has " + " and ".join(known) + " only",
            "Remove the field." if len(known) == 1 else "Write one of these.",
        )


def _find_axial_switch(options: _Backbone) -> Iterator[Finding]:
    """Yields switchable convolutions where there are no 3x3 convolutions."""
    last = _LAST_SAC_STRIDE.get(options.name)
    if last is not None and options.use_sac_beyond_stride > last:
        yield Finding(
            "use_sac_beyond_stride",
            options.use_sac_beyond_stride,
            f"{options.name} has axial attention there, and no 3x3 convolution "
            "to switch",
            f"Write at most {last}, or remove the field.",
        )


def _find_uneven_heads(options: _Backbone) -> Iterator[Finding]:
    """Yields widths that the heads of the attention cannot share evenly."""
    if options.name not in _ATTENTION:
        return
    factor, stages = _ATTENTION[options.name]
    if not 0.0 < options.backbone_width_multiplier < math.inf:
        return
    width = options.backbone_width_multiplier
    if not options.HasField("backbone_width_multiplier"):
        width = _OWN_WIDTH.get(options.name, 1.0)
    keys = [factor * max(1, round(channels * width)) for channels in stages]
    if any(number % _NUM_HEADS for number in keys):
        step = _NUM_HEADS / math.gcd(_NUM_HEADS, factor) / min(stages)
        yield Finding(
            "backbone_width_multiplier",
            width,
            f"the {_NUM_HEADS} heads of {options.name}'s attention cannot "
            f"share {min(keys)} channels evenly",
            f"Write a multiple of {step:g}.",
        )
