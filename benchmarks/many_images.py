# SPDX-License-Identifier: Apache-2.0
r"""Time and memory of the programs for data with very many images.

    python benchmarks/many_images.py --sizes=1000,10000,100000

draws tiny images with labels and predictions, in COCO's panoptic form or as
label images of classes and instances, and runs deeplab2-prepare,
deeplab2-check-data (of the labels and of the records) and, in COCO's form,
deeplab2-score on them. For each it prints wall time, processor time, and the
peak memory of its largest process; for each size what these are per image, and
how many bytes each further image takes. Memory that does not grow and time that
grows as the number of images are what to look for. 100,000 images take about
1.5 GB of disk.
"""

import concurrent.futures
import dataclasses
import json
import multiprocessing
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

import numpy as np
from absl import flags
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.console import path_flags, program
from deeplab2_like.storage import json_files

_COCO, _LABEL_IMAGES = "coco-panoptic", "label-images"
_SIZE = (24, 32)
# Things and stuff of the drawn labels, by category.
_CATEGORIES = {1: ("car", 1), 2: ("person", 1), 3: ("road", 0), 4: ("sky", 0)}
_MOST_OBJECTS = 4
_PER_FOLDER = 1000
_MB = 2**20

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()
_SIZES = flags.DEFINE_list(
    "sizes",
    ["1000", "10000"],
    "Numbers of images, with commas between them.",
    flag_values=_FLAGS,
)
_FORM = flags.DEFINE_enum(
    "form",
    _COCO,
    [_COCO, _LABEL_IMAGES],
    "Form of the labels.",
    flag_values=_FLAGS,
)
_FOLDER = path_flags.define(
    "folder",
    None,
    "Folder for the images; a temporary one by default.",
    flag_values=_FLAGS,
)
_PROCESSES = flags.DEFINE_integer(
    "num_processes",
    2,
    "Processes of deeplab2-check-data.",
    lower_bound=1,
    flag_values=_FLAGS,
)
_JSON = path_flags.define(
    "out",
    None,
    "File to which the figures are written, as JSON.",
    flag_values=_FLAGS,
)


@dataclasses.dataclass(frozen=True)
class Step:
    """A program that was run.

    Attributes:
        name: What it does.
        images: Number of images.
        wall_s: Wall time.
        cpu_s: Processor time of all of its processes.
        peak_mb: Peak resident memory of its largest process.
    """

    name: str
    images: int
    wall_s: float
    cpu_s: float
    peak_mb: float


def draw_label(number: int) -> np.ndarray:
    """Draws a label: int64 [24, 32], category * 1000 + number of the object.

    Args:
        number: Number of the image; another one gives another label.
    """
    random = np.random.default_rng(number)
    height, width = _SIZE
    label_hw = np.full(_SIZE, 3000)
    label_hw[: int(random.integers(4, height - 4))] = 4000
    for instance in range(int(random.integers(0, _MOST_OBJECTS + 1))):
        top = int(random.integers(0, height - 6))
        left = int(random.integers(0, width - 6))
        category = int(random.integers(1, 3))
        label_hw[top : top + 6, left : left + 6] = category * 1000 + instance
    return label_hw


def draw_image(label_hw: np.ndarray, number: int) -> np.ndarray:
    """Draws an image: uint8 [24, 32, 3], noise on a color for each segment."""
    random = np.random.default_rng(number)
    base_hw = label_hw * 37 % 200
    noise = random.integers(0, 50, (*label_hw.shape, 3))
    return (base_hw[..., None] + noise).astype(np.uint8)


def write_data(folder: pathlib.Path, count: int, form: str) -> None:
    """Draws a data set, and in COCO's form predictions of it.

    Args:
        folder: Folder to write.
        count: Number of images.
        form: Form of the labels.
    """
    images: list[dict[str, object]] = []
    lists: dict[str, list[dict[str, object]]] = {"masks": [], "predicted": []}
    for number in range(count):
        label_hw = draw_label(number)
        name = f"{number // _PER_FOLDER:03d}/{number:06d}"
        photo = draw_image(label_hw, number)
        _save(folder / "data" / "images" / f"{name}.png", photo)
        if form == _LABEL_IMAGES:
            classes = (label_hw // 1000).astype(np.uint8)
            instances = np.where(label_hw < 3000, label_hw % 1000 + 1, 0)
            _save(folder / "data" / "labels" / f"{name}.png", classes)
            _save(
                folder / "data" / "instances" / f"{name}.png",
                instances.astype(np.uint8),
            )
            continue
        height, width = label_hw.shape
        images.append(
            {
                "id": number,
                "file_name": f"{name}.png",
                "height": height,
                "width": width,
            }
        )
        shifted = np.roll(label_hw, number % 3, axis=1)
        for kind, ids_hw in (("masks", label_hw), ("predicted", shifted)):
            place = folder / ("data" if kind == "masks" else "") / kind
            low, high = ids_hw % 256, ids_hw // 256
            rgb = np.stack([low, high, np.zeros_like(low)], -1)
            _save(place / f"{name}.png", rgb.astype(np.uint8))
            lists[kind].append(
                {
                    "image_id": number,
                    "file_name": f"{name}.png",
                    "segments_info": [*_list_segments(ids_hw)],
                }
            )
    if form == _COCO:
        for kind, path in (
            ("masks", folder / "data" / "labels.json"),
            ("predicted", folder / "predicted.json"),
        ):
            content = {
                "images": images,
                "annotations": lists[kind],
                "categories": [
                    {"id": key, "name": name, "isthing": is_thing}
                    for key, (name, is_thing) in _CATEGORIES.items()
                ],
            }
            path.write_text(json.dumps(content), encoding="utf-8")
    else:
        lines = [f"{key}: {name}" for key, (name, _) in _CATEGORIES.items()]
        (folder / "classes.txt").write_text("\n".join(lines), encoding="utf-8")


def write_apart(folder: pathlib.Path, count: int, form: str) -> None:
    """Calls `write_data` in a process of its own.

    The peak memory that Linux tells of a process begins with that of the one
    that started it, so that this one has to stay small.
    """
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as executor:
        executor.submit(write_data, folder, count, form).result()


def _save(path: pathlib.Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=1)


def _list_segments(ids_hw: np.ndarray) -> Iterator[dict[str, object]]:
    for key, area in zip(*np.unique(ids_hw, return_counts=True), strict=True):
        yield {
            "id": int(key),
            "category_id": int(key) // 1000,
            "area": int(area),
            "iscrowd": 0,
        }


def list_commands(
    folder: pathlib.Path, form: str, num_processes: int
) -> dict[str, list[str]]:
    """Lists the programs to run, as module and arguments, by what they do.

    Args:
        folder: Folder that `write_data` wrote.
        form: Form of the labels.
        num_processes: Processes of deeplab2-check-data.
    """
    data = str(folder / "data")
    own = [data, f"--from={form}"]
    if form == _LABEL_IMAGES:
        own += [f"--classes={folder / 'classes.txt'}", "--things=car,person"]
        own.append(f"--label_dir={data}/labels")
        own.append(f"--instance_dir={data}/instances")
    records = folder / "records"
    processes = f"--num_processes={num_processes}"
    commands = {
        "prepare": [
            "recipes.prepare_main",
            *own,
            f"--out={records}",
            "--write",
        ],
        "check labels": ["recipes.check_main", *own, processes],
        "check records": [
            "recipes.check_main",
            f"--dataset={records}/dataset.textproto",
            f"--file_pattern={records}/records/*.tfrecord",
            processes,
        ],
        "check records, quick": [
            "recipes.check_main",
            f"--dataset={records}/dataset.textproto",
            f"--file_pattern={records}/records/*.tfrecord",
            "--quick",
            processes,
        ],
    }
    if form == _COCO:
        commands["score"] = [
            "metrics.coco_main",
            f"--gt_json={data}/labels.json",
            f"--gt_folder={data}/masks",
            f"--pred_json={folder / 'predicted.json'}",
            f"--pred_folder={folder / 'predicted'}",
        ]
    return commands


def run_step(name: str, command: Sequence[str], images: int) -> Step:
    """Runs a program and measures it.

    Args:
        name: What it does.
        command: Module below deeplab2_like, and arguments.
        images: Number of images.

    Raises:
        errors.DataError: The program failed.
    """
    module, *arguments = command
    start = time.perf_counter()
    with tempfile.TemporaryFile() as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", f"deeplab2_like.{module}", *arguments],
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            stream.seek(0)
            text = stream.read().decode(errors="replace").strip()
            raise errors.DataError(f"{name!r} failed: {text[-1000:]}")
    return Step(
        name,
        images,
        time.perf_counter() - start,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss * 1024 / _MB,
    )


def make_table(steps: Sequence[Step]) -> str:
    """Returns the figures as a table, with what each further image takes."""
    lines = [
        "| program | images | wall s | CPU s | CPU ms an image | peak MB | "
        "more bytes for each more image |",
        "|---|---|---|---|---|---|---|",
    ]
    last: dict[str, Step] = {}
    for step in sorted(steps, key=lambda s: (s.name, s.images)):
        more = ""
        if step.name in last:
            before = last[step.name]
            difference = (step.peak_mb - before.peak_mb) * _MB
            more = f"{difference / (step.images - before.images):.0f}"
        last[step.name] = step
        lines.append(
            f"| {step.name} | {step.images} | {step.wall_s:.1f} | "
            f"{step.cpu_s:.1f} | {1000 * step.cpu_s / step.images:.2f} | "
            f"{step.peak_mb:.0f} | {more} |"
        )
    return "\n".join(lines)


def _read_sizes(values: Sequence[str]) -> list[int]:
    try:
        sizes = sorted({int(value) for value in values})
    except ValueError:
        sizes = []
    if not sizes or sizes[0] < 2:
        raise errors.ConfigError(
            f"--sizes={','.join(values)} must be numbers of images, each at "
            "least 2, such as 1000,10000."
        )
    return sizes


def _main(arguments: Sequence[str]) -> None:
    program.refuse_arguments(arguments)
    sizes = _read_sizes(_SIZES.value)
    steps: list[Step] = []
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=_FOLDER.value) as name:
            folder = pathlib.Path(name)
            start = time.perf_counter()
            write_apart(folder, size, _FORM.value)
            seconds = time.perf_counter() - start
            print(f"{size} images drawn in {seconds:.1f} s", flush=True)
            for what, command in list_commands(
                folder, _FORM.value, _PROCESSES.value
            ).items():
                steps.append(run_step(what, command, size))
                print(f"{what}: {steps[-1].wall_s:.1f} s", flush=True)
    print(make_table(steps))
    if _JSON.value:
        json_files.write_json(
            pathlib.Path(_JSON.value), [vars(step) for step in steps]
        )


if __name__ == "__main__":
    program.run(_main, _FLAGS)
