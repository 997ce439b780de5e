# SPDX-License-Identifier: Apache-2.0
r"""Writes the record files of a data set in COCO-panoptic layout.

    python data/convert_coco_panoptic.py --dataset=DATASET --split=train \
        --json=annotations/panoptic_train.json --images=images/train \
        --panoptic=panoptic/train --output_dir=records

Nothing is written before all images are in order. DATASET is the name of a
shipped data set descriptor, or the file of your own: `python
data/describe_data.py` writes a draft.
"""

import os
import sys
from collections.abc import Sequence

from absl import flags

from deeplab2_like import config, errors
from deeplab2_like.config import textproto
from deeplab2_like.console import native_logs, path_flags, program, progress
from deeplab2_like.data.coco import entries as coco_entries
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.storage import exif_convention, user_paths

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_JSON = path_flags.define(
    "json", None, "The COCO-panoptic JSON file. Required.", flag_values=_FLAGS
)
_IMAGES = path_flags.define(
    "images", None, "Folder of the images. Required.", flag_values=_FLAGS
)
_PANOPTIC = path_flags.define(
    "panoptic",
    None,
    "Folder of the PNGs of segment ids. Required with --labels.",
    flag_values=_FLAGS,
)
_DATASET = path_flags.define(
    "dataset",
    None,
    "Name or file of the data set descriptor. Required.",
    flag_values=_FLAGS,
)
_OUTPUT = path_flags.define(
    "output_dir", None, "Folder for the records. Required.", flag_values=_FLAGS
)
_SPLIT = path_flags.define(
    "split",
    None,
    "Name of the split, e.g. train; names of files begin with it. Required.",
    flag_values=_FLAGS,
)
_NUM_SHARDS = flags.DEFINE_integer(
    "num_shards", 10, "Number of files.", flag_values=_FLAGS
)
_LABELS = flags.DEFINE_bool(
    "labels",
    True,
    "Whether labels are written; --nolabels for a test split.",
    flag_values=_FLAGS,
)
_CROWD = flags.DEFINE_bool(
    "treat_crowd_as_ignore",
    False,
    "Make crowd segments void.",
    flag_values=_FLAGS,
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite",
    False,
    "Replace older records of the split.",
    flag_values=_FLAGS,
)
_EXIF = flags.DEFINE_enum(
    "exif",
    exif_convention.AUTO,
    exif_convention.RULES,
    "On which pixels labels were drawn: on photos turned upright as their EXIF"
    " orientation says (apply), or on those that the file stores (ignore)."
    " Where the size of a label shows it, the size decides; auto: it decides"
    " for the other photos of the set, too.",
    flag_values=_FLAGS,
)
_THREADS = flags.DEFINE_integer(
    "num_threads", 2, "Images read at once.", flag_values=_FLAGS
)


def _main(arguments: Sequence[str]) -> None:
    program.refuse_arguments(arguments)
    json_path = program.require(
        _JSON, "the COCO-panoptic file", "annotations/panoptic_val.json"
    )
    images = program.require(_IMAGES, "the folder of the images", "images/val")
    panoptic = ""
    if _LABELS.value:
        panoptic = program.require(
            _PANOPTIC, "the folder of the PNGs", "panoptic/val"
        )
    output = program.require(_OUTPUT, "the folder to write", "records")
    split = program.require(_SPLIT, "a name", "val")
    if "/" in split:
        raise errors.ConfigError(
            f"--split={split} contains '/', but names of files begin with it. "
            "Give a name such as val."
        )
    dataset = program.require(
        _DATASET, "the descriptor of the data set", "coco_panoptic"
    )
    descriptor = descriptor_lib.load(dataset)
    for warning in config.list_dataset_warnings(config.load_dataset(dataset)):
        print(warning, file=sys.stderr)
    entries = coco_entries.load_entries(
        json_path,
        images,
        panoptic,
        descriptor,
        with_labels=_LABELS.value,
        exif=_EXIF.value,
        warn=lambda warning: print(f"Warning: {warning}", file=sys.stderr),
    )
    native_logs.load_tensorflow()
    from deeplab2_like.data.coco import records as coco_records

    with progress.Progress().phase(
        "Writing images", len(entries), unit="images"
    ) as phase:
        summary = coco_records.write_coco_records(
            entries,
            descriptor,
            coco_records.Output(
                output, split, _NUM_SHARDS.value, _OVERWRITE.value
            ),
            treat_crowd_as_ignore=_CROWD.value,
            num_threads=_THREADS.value,
            report=phase.advance,
        )
    print("\n".join(summary.describe(descriptor)))
    beginning = user_paths.escape_pattern(os.path.join(output, split))
    pattern = f"{beginning}-*.tfrecord"
    print(f"For a config: file_pattern: {textproto.quote(pattern)}")


def cli() -> None:
    """Writes records of a COCO-panoptic data set."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
