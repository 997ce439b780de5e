# SPDX-License-Identifier: Apache-2.0
"""Draws what each random change of training images does, on `scenes`.

    python -m deeplab2_like.scenes.augmentations_main --out=augmentations.jpg

writes one picture: a scene after each change, with its labels where these
change.
"""

from collections.abc import Sequence

from absl import flags
from PIL import Image

from deeplab2_like.console import path_flags, program

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_OUT = path_flags.define(
    "out", None, "The picture, PNG or JPEG. Required.", flag_values=_FLAGS
)

_JPEG_QUALITY = 78


def _main(arguments: Sequence[str]) -> None:
    program.refuse_arguments(arguments)
    out = program.require(_OUT, "the file to write", "augmentations.jpg")
    # TensorFlow is slow to import, and not needed to refuse flags.
    from deeplab2_like.scenes import augmentations_picture

    picture = Image.fromarray(augmentations_picture.make_overview())
    picture.save(out, quality=_JPEG_QUALITY, optimize=True)
    print(out)


def cli() -> None:
    """Draws the picture of the random changes."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
