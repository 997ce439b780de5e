# SPDX-License-Identifier: Apache-2.0
"""Prepares a training on your own data.

    deeplab2-new --data=PHOTOS --out=mine

PHOTOS is a folder of images and labels, or a JSON file that lists them, in one
of the forms of docs/label_forms.md: COCO-panoptic, COCO instances and others.
deeplab2-prepare shows what is found in it, and how it is read. Written are
records, the descriptor of the classes, and a config in which each choice has
its reason as a comment. The next commands are printed.
"""

import pathlib
import time
from collections.abc import Sequence

from absl import flags

from deeplab2_like import errors
from deeplab2_like.console import path_flags, program
from deeplab2_like.recipes import choice, making, reading_flags

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_DATA = path_flags.define(
    "data",
    None,
    "Folder of the data, or the JSON file that describes the labels. Required.",
    flag_values=_FLAGS,
)
_OUT = path_flags.define(
    "out",
    None,
    "Folder to write: config, descriptor, records. Required.",
    flag_values=_FLAGS,
    holds_checkpoint=True,
)
_SYSTEM = flags.DEFINE_enum(
    "system",
    choice.SYSTEMS[0],
    choice.SYSTEMS,
    "The system to train.",
    flag_values=_FLAGS,
)
_MINUTES = flags.DEFINE_float(
    "minutes",
    choice.Wishes.minutes,
    "Time that training should take on this machine, about, by an estimate of "
    "the time of a step.",
    flag_values=_FLAGS,
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite",
    False,
    "Replace the files that this program wrote to --out before; all others "
    "stay.",
    flag_values=_FLAGS,
)

_READING = reading_flags.define(_FLAGS)

_LEAST_MINUTES, _MOST_MINUTES = 0.1, 60 * 24 * 30


def _main(arguments: Sequence[str]) -> None:
    program.refuse_arguments(arguments)
    data = program.require(_DATA, "the folder of your data", "photos")
    out = program.require(_OUT, "the folder to write", "mine")
    minutes = _MINUTES.value
    if not _LEAST_MINUTES <= minutes <= _MOST_MINUTES:
        raise errors.ConfigError(
            f"--minutes={minutes:g} is out of range. Give "
            f"{_LEAST_MINUTES:g} to {_MOST_MINUTES}."
        )
    start = time.monotonic()
    made = making.make(
        _READING.make_request(pathlib.Path(data)),
        out,
        choice.Wishes(_SYSTEM.value, minutes),
        overwrite=_OVERWRITE.value,
    )
    plan = made.plan
    lines = made.survey.describe()
    if made.split_rule:
        lines.append(f"Evaluate  {made.split_rule}")
    encoder = (
        "from ImageNet weights" if plan.is_pretrained else "random weights"
    )
    lines += [
        f"Training  {plan.system}, {plan.backbone} ({encoder}), {plan.steps} "
        f"steps of {plan.batch} crops of {plan.crop[0]} x {plan.crop[1]}, "
        f"images scaled by {plan.scale:g}: about "
        f"{plan.steps * plan.seconds_per_step / 60:.0f} minutes",
        *made.remarks,
        f"Written to {out} in {time.monotonic() - start:.0f} s. Next:",
        *(f"  {command}" for command in made.commands),
    ]
    print("\n".join(lines))


def cli() -> None:
    """Prepares a training on own data (console command deeplab2-new)."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
