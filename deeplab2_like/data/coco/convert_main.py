# SPDX-License-Identifier: Apache-2.0
"""The program that writes records: `python data/convert_coco_panoptic.py`."""

import os
from collections.abc import Sequence

from absl import flags

from deeplab2_like.console import program, progress
from deeplab2_like.data.coco import entries as coco_entries
from deeplab2_like.labels import descriptor as descriptor_lib

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_JSON = flags.DEFINE_string(
    "json", None, "The COCO-panoptic JSON file.", flag_values=_FLAGS
)
_IMAGES = flags.DEFINE_string(
    "images", None, "Folder of the images.", flag_values=_FLAGS
)
_PANOPTIC = flags.DEFINE_string(
    "panoptic", None, "Folder of the PNGs of segment ids.", flag_values=_FLAGS
)
_DATASET = flags.DEFINE_string(
    "dataset",
    None,
    "Name or file of the data set descriptor.",
    flag_values=_FLAGS,
)
_OUTPUT = flags.DEFINE_string(
    "output_dir", None, "Folder for the records.", flag_values=_FLAGS
)
_SPLIT = flags.DEFINE_string(
    "split", None, "Name of the split, e.g. train.", flag_values=_FLAGS
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
_THREADS = flags.DEFINE_integer(
    "num_threads", 2, "Images read at once.", flag_values=_FLAGS
)


def _describe(summary, descriptor: descriptor_lib.DatasetDescriptor) -> str:
    lines = [f"{summary.num_images} images in {len(summary.paths)} files."]
    if summary.pixels:
        total = sum(summary.pixels.values())
        void = 100 * summary.pixels[descriptor.ignore_label] / total
        lines.append(
            f"{sum(summary.instances.values())} instances (at most"
            f" {summary.max_instances} of one class in an image),"
            f" {summary.num_crowds} crowds, {void:.2f} % of the pixels void."
        )
        bare = [
            descriptor.class_names[index]
            for index in range(descriptor.num_classes)
            if not summary.pixels[index] and index != descriptor.ignore_label
        ]
        if bare:
            lines.append(
                f"{len(bare)} of {descriptor.num_classes} classes do not occur:"
                f" {coco_entries.summarize_names(bare, 5)}."
            )
    if summary.num_converted:
        lines.append(
            f"{summary.num_converted} images were rewritten as RGB PNG (other"
            " format, or turned as their EXIF data says)."
        )
    return "\n".join(lines)


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
    descriptor = descriptor_lib.load(
        program.require(
            _DATASET, "the descriptor of the data set", "coco_panoptic"
        )
    )
    entries = coco_entries.load_entries(
        json_path, images, panoptic, descriptor, with_labels=_LABELS.value
    )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from deeplab2_like.data.coco import records as coco_records

    with progress.Progress().phase("Writing images", len(entries)) as phase:
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
    print(_describe(summary, descriptor))
    pattern = os.path.join(output, f"{split}-*.tfrecord")
    print(f'For a config: file_pattern: "{pattern}"')


def cli() -> None:
    """Writes records of a COCO-panoptic data set."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
