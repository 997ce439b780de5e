# SPDX-License-Identifier: Apache-2.0
r"""Compares the maps that an exported model gives in all ways to ask it.

    python benchmarks/answers_agree.py --model=SAVED --images=FOLDER \
        [--run=RUN] [--num_images=20] [--out=FILE]

The ways: the live model, the SavedModel in eager mode, in a session of Python
and in one of C++ with XLA off as TensorFlow Serving has it, its compiled twins,
and the server's protocols on this machine. Each gets the images alone and, if
its signature takes images of any sizes, several in a request. The table has the
images whose maps are identical with the first way's, and the pixels that
differ.
"""

import contextlib
import dataclasses
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

from absl import flags

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402

from benchmarks import answer_ways  # noqa: E402
from benchmarks.answer_maps import (  # noqa: E402
    LeftOutError,
    Map,
    Subject,
    Way,
)
from benchmarks.answer_ways import Entry  # noqa: E402
from deeplab2_like import errors  # noqa: E402
from deeplab2_like.console import path_flags, program, progress  # noqa: E402
from deeplab2_like.exports import exported_model  # noqa: E402
from deeplab2_like.storage import image_files, json_files  # noqa: E402

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_MODEL = path_flags.define(
    "model",
    None,
    "Folder of the exported model. Required.",
    flag_values=_FLAGS,
)
_RUN = path_flags.define(
    "run",
    None,
    "Model folder that it was exported from, for the live model.",
    holds_checkpoint=True,
    flag_values=_FLAGS,
)
_IMAGES = path_flags.define_list(
    "images",
    "JPEG and PNG files, or folders of them. Required.",
    flag_values=_FLAGS,
)
_NUM = flags.DEFINE_integer(
    "num_images",
    20,
    "Most images, spread evenly.",
    lower_bound=1,
    flag_values=_FLAGS,
)
_BATCH = flags.DEFINE_integer(
    "batch",
    4,
    "Files of a request, for ways that take several.",
    lower_bound=1,
    flag_values=_FLAGS,
)
_WAYS = flags.DEFINE_list(
    "ways",
    None,
    "Parts of the names of the ways to compare; all by default.",
    flag_values=_FLAGS,
)
_OUT = path_flags.define(
    "out", None, "File of the table, as JSON.", flag_values=_FLAGS
)


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        way: Name of the way.
        images: Number of images that were compared.
        identical: Number of those whose maps are identical.
        differing: Number of pixels that differ.
        pixels: Number of all pixels.
        seconds: Time of all requests.
        problem: Why the way was left out; empty for others.
    """

    way: str
    images: int = 0
    identical: int = 0
    differing: int = 0
    pixels: int = 0
    seconds: float = 0.0
    problem: str = ""


def compare_maps(
    way: str, found: Sequence[Map], expected: Sequence[Map]
) -> Row:
    """Counts what differs; maps of another size differ altogether."""
    identical = differing = 0
    for one, other in zip(found, expected, strict=True):
        if one.shape != other.shape:
            differing += other.size
            continue
        count = int(np.sum(one != other))
        differing += count
        identical += count == 0
    pixels = sum(other.size for other in expected)
    return Row(way, len(expected), identical, differing, pixels)


def ask(
    way: Way, files: Sequence[bytes], batch: int
) -> tuple[list[Map], float]:
    """Asks for the maps of files, some in each request; returns the time."""
    requests = [
        files[index : index + batch] for index in range(0, len(files), batch)
    ]
    start = time.monotonic()
    ask_many = getattr(way, "ask_many", None)
    if ask_many is not None:
        maps = ask_many(requests)
    else:
        maps = [found for request in requests for found in way(request)]
    return maps, time.monotonic() - start


def compare_ways(
    ways: dict[str, Entry], subject: Subject, files: Sequence[bytes], batch: int
) -> Iterator[Row]:
    """Compares each way with the first one.

    Args:
        ways: The ways by name.
        subject: What is compared.
        files: The image files.
        batch: Files of a request, for ways that take several sizes.

    Yields:
        A row for each way, and one more for those asked for several at once.
    """
    expected: list[Map] | None = None
    for name, entry in ways.items():
        opened = contextlib.contextmanager(entry.open)
        try:
            with opened(subject) as way:
                found, seconds = ask(way, files, 1)
                expected = expected if expected is not None else found
                row = compare_maps(name, found, expected)
                yield dataclasses.replace(row, seconds=seconds)
                size = min(batch, subject.info.max_rows)
                if entry.takes_any_sizes and size > 1:
                    found, seconds = ask(way, files, size)
                    title = f"{name}, {size} at once"
                    row = compare_maps(title, found, expected)
                    yield dataclasses.replace(row, seconds=seconds)
        except LeftOutError as error:
            yield Row(name, problem=str(error))


def make_table(rows: Sequence[Row]) -> str:
    """Makes the table of all ways."""
    width = max(len(row.way) for row in rows)
    lines = [
        f"{'way':{width}}  identical  differing pixels          seconds",
    ]
    for row in rows:
        if row.problem:
            lines.append(f"{row.way:{width}}  left out: {row.problem}")
            continue
        share = row.differing / max(row.pixels, 1)
        lines.append(
            f"{row.way:{width}}  {row.identical:4d}/{row.images:<4d}"
            f"  {row.differing:9d} ({share:8.4%})  {row.seconds:8.1f}"
        )
    return "\n".join(lines)


def _load_files(report: progress.Progress) -> list[bytes]:
    found = [
        file.path
        for file in image_files.find_images(_IMAGES.value, warn=report.log)
        if file.path.suffix.lower() in (".jpg", ".jpeg", ".png")
    ]
    if not found:
        raise errors.DataError("--images has no JPEG or PNG file.")
    count = min(_NUM.value, len(found))
    places = np.linspace(0, len(found) - 1, count).astype(int)
    return [found[place].read_bytes() for place in places]


def _main(arguments: Sequence[str]) -> None:
    program.refuse_arguments(arguments)
    model = program.require(_MODEL, "what deeplab2-export wrote", "saved")
    if not _IMAGES.value:
        raise errors.ConfigError("--images is missing. Name files or folders.")
    report = progress.Progress()
    info = exported_model.load_info(model)
    files = _load_files(report)
    first = next(iter(answer_ways.WAYS))
    ways = {
        name: entry
        for name, entry in answer_ways.WAYS.items()
        if name == first
        or not _WAYS.value
        or any(part in name for part in _WAYS.value)
    }
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        subject = Subject(
            pathlib.Path(model).absolute(),
            _RUN.value,
            info,
            pathlib.Path(folder),
        )
        for row in compare_ways(ways, subject, files, _BATCH.value):
            rows.append(row)
            report.log(make_table([row]).splitlines()[-1])
    print(make_table(rows))
    if _OUT.value:
        json_files.write_json(
            _OUT.value, [dataclasses.asdict(row) for row in rows]
        )


if __name__ == "__main__":
    program.run(_main, _FLAGS)
