# SPDX-License-Identifier: Apache-2.0
"""Measures the way from an image file of 1024x2048 to a panoptic PNG.

    python benchmarks/image_to_png.py

A network of random weights is exported as `deeplab2-export` does; then a JPEG
is read, predicted and written in COCO's panoptic format by the code of
`deeplab2-predict`. The parts are measured too: reading, the SavedModel with
the table of segments, and the PNG.
"""

import pathlib
import sys
import tempfile
from collections.abc import Callable, Iterator

import tensorflow as tf
from PIL import Image

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import inputs, measuring, models, running  # noqa: E402
from deeplab2_like import predict  # noqa: E402
from deeplab2_like.console import progress  # noqa: E402
from deeplab2_like.exports import saved_model  # noqa: E402
from deeplab2_like.results import coco_writer  # noqa: E402

_BACKBONE = "mobilenet_v3_large"
_SIZES = {"height": inputs.SIZE[0], "width": inputs.SIZE[1]}


# Beginning of the measurements' names, by precision.
_NAMES = {"float32": "image_to_png", "bfloat16": "image_to_png_bfloat16"}


def _export(folder: pathlib.Path, precision: str) -> pathlib.Path:
    """Exports a network of random weights."""
    config = models.load_config(
        _BACKBONE,
        (f'trainer_options {{ compute_precision: "{precision}" }}',),
    )
    _, model = models.build(config)
    checkpoint = tf.train.Checkpoint(
        variables={v.path: v.value for v in model.variables}
    )
    out = folder / "saved"
    _, panoptic = inputs.load_label(running.inputs_folder(), 30)
    image = inputs.draw_image(panoptic, seed=0)
    saved_model.export(
        None,
        str(out),
        saved_model.ExportOptions(jit_compile=True),
        config=config,
        checkpoint=checkpoint.write(str(folder / "random")),
        images=[("drawn", image)],
        report=progress.Progress(),
    )
    return out


def _measure(precision: str) -> Iterator[measuring.Measurement]:
    prefix = _NAMES[precision]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        predictor = predict.Predictor.from_saved_model(
            _export(folder, precision)
        )
        image, _ = inputs.load_label(running.inputs_folder(), 30)
        file = folder / "picture.jpg"
        Image.fromarray(image).save(file, quality=90)
        writer = coco_writer.CocoPanopticWriter(
            folder / "out", predictor.descriptor
        )
        numbers = iter(range(1_000_000))

        def whole_way():
            found = predictor.predict(file)
            writer.add(found, f"{next(numbers)}.jpg")

        yield _measure_part(
            f"{prefix}/{_BACKBONE}/1024x2048",
            whole_way,
        )
        yield from _measure_parts(prefix, predictor, file, writer, numbers)
        writer.close()


def _measure_parts(
    prefix: str,
    predictor: predict.Predictor,
    file: pathlib.Path,
    writer: coco_writer.CocoPanopticWriter,
    numbers: Iterator[int],
) -> Iterator[measuring.Measurement]:
    pixels = predictor.load_image(file)
    found = predictor.predict(pixels)
    yield _measure_part(
        f"{prefix}/part/read", lambda: predictor.load_image(file)
    )
    yield _measure_part(
        f"{prefix}/part/predict", lambda: predictor.predict(pixels)
    )
    yield _measure_part(
        f"{prefix}/part/write",
        lambda: writer.add(found, f"{next(numbers)}.jpg"),
    )


def _measure_part(
    name: str, run: Callable[[], object]
) -> measuring.Measurement:
    return measuring.measure(name, run, sizes=_SIZES, effort=running.effort())


if __name__ == "__main__":
    running.run(
        {
            "float32": running.Case(lambda: _measure("float32")),
            "bfloat16": running.Case(lambda: _measure("bfloat16")),
        }
    )
