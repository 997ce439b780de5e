# SPDX-License-Identifier: Apache-2.0
"""The program that writes records: `python data/convert_coco_panoptic.py`."""

import os
from collections.abc import Sequence

from absl import flags

from deeplab2_like import errors
from deeplab2_like.console import program, progress
from deeplab2_like.data.coco import entries as coco_entries
from deeplab2_like.labels import descriptor as descriptor_lib

_JSON = flags.DEFINE_string("json", None, "The COCO-panoptic JSON file.")
_IMAGES = flags.DEFINE_string("images", None, "Folder of the images.")
_PANOPTIC = flags.DEFINE_string(
    "panoptic", None, "Folder of the PNGs of segment ids."
)
_DATASET = flags.DEFINE_string(
    "dataset", None, "Name or file of the data set descriptor."
)
_OUTPUT = flags.DEFINE_string("output_dir", None, "Folder for the records.")
_SPLIT = flags.DEFINE_string("split", None, "Name of the split, e.g. train.")
_NUM_SHARDS = flags.DEFINE_integer("num_shards", 10, "Number of files.")
_LABELS = flags.DEFINE_bool(
    "labels", True, "Whether labels are written; --nolabels for a test split."
)
_CROWD = flags.DEFINE_bool(
    "treat_crowd_as_ignore", False, "Make crowd segments void."
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite", False, "Replace older records of the split."
)
_THREADS = flags.DEFINE_integer("num_threads", 2, "Images read at once.")


def _require(flag: flags.FlagHolder, example: str) -> str:
    if not flag.value:
        raise errors.ConfigError(
            f"--{flag.name} is missing. Give it, for example"
            f" --{flag.name}={example}."
        )
    return flag.value


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


def _run(arguments: Sequence[str]) -> None:
    if arguments:
        raise errors.ConfigError(
            f"Unexpected argument {arguments[0]!r}: everything is given by"
            " flags, see --help."
        )
    json_path = _require(_JSON, "annotations/panoptic_val.json")
    images = _require(_IMAGES, "images/val")
    panoptic = _require(_PANOPTIC, "panoptic/val") if _LABELS.value else ""
    output = _require(_OUTPUT, "records")
    split = _require(_SPLIT, "val")
    descriptor = descriptor_lib.load(_require(_DATASET, "coco_panoptic"))
    entries = coco_entries.load_entries(
        json_path, images, panoptic, descriptor, with_labels=_LABELS.value
    )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from deeplab2_like.data.coco import records as coco_records

    with progress.Progress().phase("Writing images", len(entries)) as phase:
        summary = coco_records.write_coco_records(
            entries,
            descriptor,
            output,
            split,
            _NUM_SHARDS.value,
            treat_crowd_as_ignore=_CROWD.value,
            overwrite=_OVERWRITE.value,
            num_threads=_THREADS.value,
            report=phase.advance,
        )
    print(_describe(summary, descriptor))
    pattern = os.path.join(output, f"{split}-*.tfrecord")
    print(f'For a config: file_pattern: "{pattern}"')


def cli() -> None:
    """Writes records of a COCO-panoptic data set."""
    program.run(_run)


if __name__ == "__main__":
    cli()
