# SPDX-License-Identifier: Apache-2.0
r"""Writes predictions in the form that a server or another program takes.

    deeplab2-convert-predictions --pred_json=out/panoptic.json --to=cityscapes \
        --out=submission

reads COCO-panoptic files, as deeplab2-predict writes them. --to=cityscapes
writes what the evaluation server of Cityscapes takes for its three tasks,
--to=coco-instances the things as a COCO instances JSON, --to=labelme a file of
LabelMe for each image, to be corrected there.
"""

import os
import pathlib
import sys
from collections.abc import Iterator, Sequence

from absl import flags

from deeplab2_like import errors
from deeplab2_like.console import path_flags, program
from deeplab2_like.labels import coco_format, coco_json
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.results import coco_reader, labelme_files
from deeplab2_like.results.cityscapes_writer import CityscapesWriter
from deeplab2_like.results.instances_json import InstancesJson
from deeplab2_like.results.panoptic_result import PanopticResult

_CITYSCAPES, _INSTANCES, _LABELME = "cityscapes", "coco-instances", "labelme"
INSTANCES_FILE = "instances.json"

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_PRED_JSON = path_flags.define(
    "pred_json",
    None,
    "COCO-panoptic JSON file of the predictions. Required.",
    flag_values=_FLAGS,
)
_PRED_FOLDER = path_flags.define(
    "pred_folder",
    None,
    "Folder of its PNGs. Default: the path of --pred_json without .json, or "
    "else the folder of --pred_json.",
    flag_values=_FLAGS,
)
_TO = flags.DEFINE_enum(
    "to",
    None,
    [_CITYSCAPES, _INSTANCES, _LABELME],
    "The form to write. Required.",
    flag_values=_FLAGS,
)
_OUT = path_flags.define(
    "out", None, "Folder to write. Required.", flag_values=_FLAGS
)
_SPLIT = flags.DEFINE_string(
    "split",
    "test",
    "With --to=cityscapes: the split, which is in the name of the JSON.",
    flag_values=_FLAGS,
)
_IMAGE_FOLDER = path_flags.define(
    "image_folder",
    None,
    "With --to=labelme: folder of the images, which the files point to.",
    flag_values=_FLAGS,
)


def _main(arguments: Sequence[str]) -> None:
    program.refuse_arguments(arguments)
    path = program.require(_PRED_JSON, "the predictions", "out/panoptic.json")
    form = program.require(_TO, "the form to write", _CITYSCAPES)
    out = pathlib.Path(
        program.require(_OUT, "the folder to write", "submission")
    )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise errors.ConfigError(
            f"--out={out} exists and is not an empty folder. Give another one, "
            "so that files of two calls do not mix."
        )
    annotations = coco_format.load_annotations(path)
    for warning in annotations.warnings:
        print(f"Warning: {warning}", file=sys.stderr)
    descriptor = coco_reader.make_descriptor(annotations)
    results = _load_results(annotations, descriptor)
    if form == _CITYSCAPES:
        count = _write_cityscapes(results, descriptor, out)
    elif form == _INSTANCES:
        count = _write_instances(results, descriptor, out)
    else:
        count = _write_labelme(results, out)
    print(f"{count} images are in {out}")


def _load_results(
    annotations: coco_json.PanopticJson,
    descriptor: descriptor_lib.DatasetDescriptor,
) -> Iterator[tuple[int | str, str, PanopticResult]]:
    """Yields id, name of the image, and result of each image."""
    folder = _PRED_FOLDER.value
    beside = annotations.path.with_suffix("")
    if not folder and not beside.is_dir():
        folder = str(annotations.path.parent)
    for image_id, annotation in annotations.annotations.items():
        image = annotations.images.get(image_id)
        name = image.file_name if image is not None else annotation.file_name
        result = coco_reader.load_result(
            image_id, annotations, folder, descriptor
        )
        yield image_id, name, result


def _write_cityscapes(
    results: Iterator[tuple[int | str, str, PanopticResult]],
    descriptor: descriptor_lib.DatasetDescriptor,
    out: pathlib.Path,
) -> int:
    count = 0
    with CityscapesWriter(out, descriptor, split=_SPLIT.value) as writer:
        for _, name, result in results:
            writer.add(result, name)
            count += 1
    return count


def _write_instances(
    results: Iterator[tuple[int | str, str, PanopticResult]],
    descriptor: descriptor_lib.DatasetDescriptor,
    out: pathlib.Path,
) -> int:
    content = InstancesJson(descriptor)
    count = 0
    for image_id, name, result in results:
        content.add(result, name, image_id)
        count += 1
    content.write(out / INSTANCES_FILE)
    return count


def _write_labelme(
    results: Iterator[tuple[int | str, str, PanopticResult]],
    out: pathlib.Path,
) -> int:
    count = 0
    for _, name, result in results:
        path = out / pathlib.PurePosixPath(name).with_suffix(".json")
        if path.exists():  # a.jpg and a.png are two images.
            path = out / f"{name}.json"
        image_path = pathlib.PurePosixPath(name).name
        if _IMAGE_FOLDER.value:
            image_path = os.path.relpath(
                os.path.join(_IMAGE_FOLDER.value, name), path.parent
            )
        labelme_files.write_labelme(result, path, image_path)
        count += 1
    return count


def cli() -> None:
    """Converts predictions (console command deeplab2-convert-predictions)."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
