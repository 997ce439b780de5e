# SPDX-License-Identifier: Apache-2.0
"""The folder that an export writes; checked before TensorFlow is imported."""

import contextlib
import os
import pathlib
from collections.abc import Iterator

from deeplab2_like import errors
from deeplab2_like.exports import exported_model
from deeplab2_like.storage import whole_files


def check(out: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Checks that an export may be written.

    Args:
        out: Folder to write.
        overwrite: Whether an earlier export may be replaced.

    Raises:
        ExportError: `out` exists and may not be replaced.
    """
    target = pathlib.Path(out)
    if not target.exists():
        return
    if not target.is_dir():
        raise errors.ExportError(f"--out={target} is a file. Give a folder.")
    if not any(target.iterdir()):
        return
    is_export = (
        target / exported_model.EXTRA_FOLDER / exported_model.INFO_FILE
    ).exists()
    if not is_export:
        raise errors.ExportError(
            f"--out={target} is not empty, and it is no earlier export that "
            "--overwrite could replace. Give a new folder."
        )
    if not overwrite:
        raise errors.ExportError(
            f"--out={target} holds an earlier export. Give another folder, or "
            "--overwrite to replace it."
        )


@contextlib.contextmanager
def new_folder(
    out: str | os.PathLike[str], *, overwrite: bool
) -> Iterator[pathlib.Path]:
    """Creates a folder that becomes `out` if the block ends without an error.

    Args:
        out: See `check`.
        overwrite: See `check`.

    Yields:
        The folder to write to.

    Raises:
        ExportError: See `check`; or the disk is full.
    """
    import tensorflow as tf

    check(out, overwrite=overwrite)
    try:
        with whole_files.new_folder(out) as folder:
            yield folder
    except (tf.errors.OpError, OSError) as error:
        if not whole_files.is_disk_full(error):
            raise
        parent = os.path.dirname(os.path.abspath(out))
        raise errors.ExportError(
            f"{whole_files.describe_full_disk(parent)} Nothing was written; "
            "free some space and run again."
        ) from error
