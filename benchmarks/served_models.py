# SPDX-License-Identifier: Apache-2.0
"""The exported model that a server is measured with."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator

from deeplab2_like.console import path_flags
from deeplab2_like.exports import exported_model

_BACKBONE = "mobilenet_v3_small"
MODEL = path_flags.define(
    "model",
    None,
    "Folder that deeplab2-export wrote, such as models/mine/1; a network of "
    "random weights when not given.",
    holds_checkpoint=True,
)


@contextlib.contextmanager
def open_model(folder: str | None, canvas: str) -> Iterator[pathlib.Path]:
    """Yields a folder with an exported model that has all signatures.

    Args:
        folder: Value of --model; None: a drawn network is exported to a
            temporary folder.
        canvas: Canvas of the drawn network, see deeplab2-export.

    Raises:
        ExportError: The folder has none.
    """
    if folder is not None:
        exported_model.load_info(folder)
        yield pathlib.Path(folder)
        return
    with tempfile.TemporaryDirectory() as name:
        out = pathlib.Path(name) / "1"
        _export(pathlib.Path(name), out, canvas)
        yield out


def _export(folder: pathlib.Path, out: pathlib.Path, canvas: str) -> None:
    """Exports a network of random weights."""
    import tensorflow as tf

    from benchmarks import models
    from deeplab2_like.console import progress
    from deeplab2_like.exports import saved_model
    from deeplab2_like.scenes import scene

    config = models.load_config(_BACKBONE)
    _, model = models.build(config)
    checkpoint = tf.train.Checkpoint(
        variables={v.path: v.value for v in model.variables}
    )
    saved_model.export(
        None,
        os.fspath(out),
        saved_model.ExportOptions(canvas=canvas),
        config=config,
        checkpoint=checkpoint.write(str(folder / "random")),
        images=[("drawn", scene.make_scene(0, (129, 257)).image)],
        report=progress.Progress(),
    )
