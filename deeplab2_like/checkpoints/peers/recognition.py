# SPDX-License-Identifier: Apache-2.0
"""Whose model a file holds, by its keys."""

import enum
from collections.abc import Iterable

from deeplab2_like import errors


class Peer(enum.StrEnum):
    """The models that are converted whole; values are those of `--peer`."""

    PANOPTIC_DEEPLAB = "panoptic_deeplab"
    PANOPTIC_FPN = "detectron2_panoptic_fpn"

    @property
    def full_name(self) -> str:
        """Its name in sentences."""
        return _TITLES[self]

    @property
    def system(self) -> str:
        """Field of the system in model_options."""
        return _SYSTEMS[self]


_TITLES = {
    Peer.PANOPTIC_DEEPLAB: "a Panoptic-DeepLab of bowenc0221/panoptic-deeplab",
    Peer.PANOPTIC_FPN: "a Panoptic FPN of detectron2",
}
_SYSTEMS = {
    Peer.PANOPTIC_DEEPLAB: "panoptic_deeplab",
    Peer.PANOPTIC_FPN: "panoptic_fpn",
}
# Beginnings of keys that only such files have. Each must be there.
_SIGNS = {
    Peer.PANOPTIC_DEEPLAB: (
        "decoder.semantic_decoder.aspp.",
        "decoder.semantic_head.classifier.semantic.",
    ),
    Peer.PANOPTIC_FPN: (
        "backbone.fpn_lateral2.",
        "sem_seg_head.p2.",
        "roi_heads.box_predictor.",
    ),
}
# Models that look like these and are not converted: beginning of a key -> name.
_OTHERS = {
    "ins_embed_head.": "a Panoptic-DeepLab of detectron2's projects",
    "roi_heads.box_predictor.": "a detector of detectron2 without a semantic "
    "head",
    "sem_seg_head.": "a semantic model of detectron2",
    "sem_seg_head.pixel_decoder.": "a model with a mask transformer",
    "classifier.": "a classifier",
    "decoder.aspp.": "a semantic DeepLab of bowenc0221/panoptic-deeplab",
}


def recognize(keys: Iterable[str]) -> Peer | None:
    """Returns whose whole model has these keys; None: nobody's."""
    keys = list(keys)
    for peer, signs in _SIGNS.items():
        if all(_has(keys, sign) for sign in signs):
            return peer
    return None


def require(path: str, keys: Iterable[str], wanted: str | None = None) -> Peer:
    """Returns whose whole model a file holds.

    Args:
        path: Path of the file, for errors.
        keys: Keys of its arrays.
        wanted: A value of `Peer` that it must be; None: any.

    Raises:
        CheckpointError: It is of no known model, or of another one.
    """
    keys = list(keys)
    found = recognize(keys)
    if found is not None and wanted in (None, found):
        return found
    known = " or ".join(peer.full_name for peer in Peer)
    if wanted is not None:
        known = Peer(wanted).full_name
    what = f"{path} is not {known}"
    if found is not None:
        raise errors.CheckpointError(
            f"{what}, but {found.full_name}: drop --peer."
        )
    others = [name for sign, name in _OTHERS.items() if _has(keys, sign)]
    hint = f", but probably {others[0]}" if others else ""
    first = ", ".join(sorted(keys)[:2]) or "nothing"
    raise errors.CheckpointError(
        f"{what}{hint} (its keys begin with {first}): for its encoder alone "
        "name the config of a model with --config_file."
    )


def _has(keys: Iterable[str], beginning: str) -> bool:
    return any(key.startswith(beginning) for key in keys)
