# SPDX-License-Identifier: Apache-2.0
"""Writes the draft of a data set descriptor from a COCO-panoptic JSON file.

    python data/describe_data.py panoptic_train.json --output=mine.textproto

The categories become classes. The file loads as it is; check which classes are
things.
"""

import os
import sys
from collections.abc import Sequence

from absl import flags

from deeplab2_like import errors
from deeplab2_like.console import path_flags, program
from deeplab2_like.data.coco import descriptions
from deeplab2_like.storage import user_paths, whole_files

# Programs import it from here.
describe_categories = descriptions.describe_categories

_ENDING = ".textproto"
# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_JSON = path_flags.define(
    "json",
    None,
    "The COCO-panoptic JSON file, if it is not the argument.",
    flag_values=_FLAGS,
)
_NAME = flags.DEFINE_string(
    "name",
    None,
    "Name of the data set; that of the JSON file by default.",
    flag_values=_FLAGS,
)
_OUTPUT = path_flags.define(
    "output",
    None,
    "File to write, <name>.textproto; printed by default.",
    flag_values=_FLAGS,
)


def _main(arguments: Sequence[str]) -> None:
    given = [_JSON.value] if _JSON.value else []
    given += [user_paths.expand(argument) for argument in arguments]
    program.refuse_arguments(given[1:])
    path = given[0] if given else None
    if not path:
        raise errors.ConfigError(
            "--json is missing. Give the COCO-panoptic JSON file of your data."
        )
    output = _OUTPUT.value
    if output and not output.endswith(_ENDING):
        raise errors.ConfigError(
            f"--output={output} does not end in {_ENDING}, by which programs "
            f"know the file of a descriptor. Give --output={output}{_ENDING}."
        )
    stem = os.path.splitext(os.path.basename(output or path))[0]
    text, notes = descriptions.describe_with_notes(path, _NAME.value or stem)
    if not output:
        print(text, end="")
        return
    if os.path.exists(output):
        raise errors.DataError(
            f"{output!r} exists already. Remove it, or choose another --output."
        )
    whole_files.write_text(output, text)
    for note in notes:
        print(f"Note: {note}", file=sys.stderr)
    print(f"Check which classes are things in {output}.")


def cli() -> None:
    """Writes a data set descriptor."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
