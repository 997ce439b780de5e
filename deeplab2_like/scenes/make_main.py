# SPDX-License-Identifier: Apache-2.0
"""Draws the embedded data set `scenes`: record files, or images and JSON.

    python data/make_scenes.py --out=scenes [--format=coco]

Needs no download; the same seed gives the same bytes on every machine.
"""

import pathlib
import shlex
import time
from collections.abc import Sequence

from absl import flags

from deeplab2_like import errors
from deeplab2_like.console import native_logs, path_flags, program, progress
from deeplab2_like.scenes import records as scenes_records
from deeplab2_like.storage import user_paths

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_OUT = path_flags.define(
    "out", None, "Folder for the data. Required.", flag_values=_FLAGS
)
_COUNT = flags.DEFINE_integer(
    "count", 0, "Scenes; 0: 800 train, 100 others.", flag_values=_FLAGS
)
_SIZE = flags.DEFINE_string(
    "size", "129,257", "Height and width in pixels.", flag_values=_FLAGS
)
_SEED = flags.DEFINE_integer(
    "seed", 0, "Another seed draws other scenes.", flag_values=_FLAGS
)
_SPLIT = flags.DEFINE_list(
    "split",
    ["train", "val"],
    "One or more of train, val and test.",
    flag_values=_FLAGS,
)
_FORMAT = flags.DEFINE_enum(
    "format",
    "tfrecord",
    ["tfrecord", "coco"],
    "Records, or images with COCO-panoptic PNGs and JSON.",
    flag_values=_FLAGS,
)
_NUM_SHARDS = flags.DEFINE_integer(
    "num_shards", 4, "Number of record files of a split.", flag_values=_FLAGS
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite", False, "Replace older files.", flag_values=_FLAGS
)


def _parse_size(text: str) -> tuple[int, int]:
    parts = text.replace("x", ",").split(",")
    if len(parts) != 2 or not all(part.strip().isdigit() for part in parts):
        raise errors.ConfigError(
            f"--size={text} is not a size. Give height and width in pixels, for"
            " example --size=129,257."
        )
    return int(parts[0]), int(parts[1])


def _main(arguments: Sequence[str]) -> None:
    program.refuse_arguments(arguments)
    out = pathlib.Path(program.require(_OUT, "the folder to write", "scenes"))
    size = _parse_size(_SIZE.value)
    counts = {
        split: _COUNT.value or (800 if split == "train" else 100)
        for split in _SPLIT.value
    }
    for split, count in counts.items():
        scenes_records.check_arguments(split, count, size, _SEED.value)
    if _FORMAT.value == "tfrecord":
        native_logs.load_tensorflow()

    report = progress.Progress()
    for split, count in counts.items():
        start = time.monotonic()
        with report.phase(f"Drawing {count} {split} scenes", count) as phase:
            if _FORMAT.value == "coco":
                path = scenes_records.write_coco(
                    out,
                    split,
                    count,
                    size=size,
                    seed=_SEED.value,
                    overwrite=_OVERWRITE.value,
                    advance=phase.advance,
                )
            else:
                scenes_records.write_records(
                    out,
                    split,
                    count,
                    size=size,
                    seed=_SEED.value,
                    num_shards=_NUM_SHARDS.value,
                    overwrite=_OVERWRITE.value,
                    advance=phase.advance,
                )
                path = out / f"{split}-*.tfrecord"
        print(f"{path} ({time.monotonic() - start:.1f} s)")
    print(_next_step(out))


def _next_step(out: pathlib.Path) -> str:
    """Returns a suggestion of the next command."""
    split = _SPLIT.value[0]
    if _FORMAT.value == "coco":
        labels = shlex.quote(str(out / f"panoptic_{split}.json"))
        images = shlex.quote(str(out / split))
        return (
            f"Next: deeplab2-draw --panoptic_json={labels}"
            f" --image_folder={images} --output_folder=pictures"
        )
    pattern = f"{user_paths.escape_pattern(out / split)}-*.tfrecord"
    return (
        "Next: python data/check_data.py --dataset=scenes"
        f" --file_pattern={shlex.quote(pattern)}"
    )


def cli() -> None:
    """Draws the `scenes` data set."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
