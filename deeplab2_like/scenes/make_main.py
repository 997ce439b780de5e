# SPDX-License-Identifier: Apache-2.0
"""Program that draws `scenes`: `python data/make_scenes.py`."""

import os
import pathlib
import time
from collections.abc import Sequence

from absl import flags

from deeplab2_like import errors
from deeplab2_like.console import program, progress
from deeplab2_like.scenes import scene

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_OUT = flags.DEFINE_string(
    "out", None, "Folder for the data.", flag_values=_FLAGS
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
    for split in _SPLIT.value:
        scene.compute_seed(split, 0, _SEED.value)
    if _FORMAT.value == "tfrecord":
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from deeplab2_like.scenes import records as scenes_records

    report = progress.Progress()
    for split in _SPLIT.value:
        count = _COUNT.value or (800 if split == "train" else 100)
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
        return (
            "Next: python -m deeplab2_like.visualize.coco_main --help shows how"
            f" to draw {out / f'panoptic_{split}.json'}"
        )
    return (
        "Next: python data/check_data.py --dataset=scenes"
        f" --file_pattern='{out / f'{split}-*.tfrecord'}'"
    )


def cli() -> None:
    """Draws the `scenes` data set."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
