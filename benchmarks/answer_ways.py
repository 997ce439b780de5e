# SPDX-License-Identifier: Apache-2.0
"""The ways from image files to maps that `answers_agree.py` compares.

A way is a function from the files of a request to a map for each. One with a
method `ask_many` gets all requests at once. A further one is an entry
of `WAYS`.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from benchmarks import answer_servers, session_loader
from benchmarks.answer_maps import (
    Files,
    LeftOutError,
    Map,
    Subject,
    Way,
    choose_reader,
    number_maps,
)
from deeplab2_like.exports import byte_guard, signatures
from deeplab2_like.inference import canvas
from deeplab2_like.predict import panoptic_model
from deeplab2_like.predict.images import ImagePredictor
from deeplab2_like.predict.predictor import Predictor


def _live_model(
    subject: Subject, decode: Callable[[bytes], npt.NDArray[np.uint8]]
) -> Iterator[Way]:
    if subject.run is None:
        raise LeftOutError("--run is not given")
    sizes = ",".join(f"{h}x{w}" for h, w in subject.info.fixed_sizes)
    model = panoptic_model.load_model(
        subject.run, canvas_size=sizes or canvas.CONFIG
    )
    # Where no size is fixed, the export has the canvas of the config or "fit".
    if not sizes and _has_fixed_canvas(model):
        model = panoptic_model.load_model(subject.run, canvas_size=canvas.FIT)
    yield _predict_pixels(model, decode)


def _has_fixed_canvas(model: ImagePredictor) -> bool:
    assert isinstance(model, panoptic_model.PanopticModel)
    data = model.config.options.eval_dataset_options
    return not data.pad_to_multiple_of


def _predict_pixels(
    model: ImagePredictor, decode: Callable[[bytes], npt.NDArray[np.uint8]]
) -> Way:
    divisor = model.descriptor.label_divisor

    def predict(files: Files) -> list[Map]:
        maps = []
        for data in files:
            outputs = model.predict_maps(decode(data))
            batch = {name: value[np.newaxis] for name, value in outputs.items()}
            maps += number_maps(batch, divisor)
        return maps

    return predict


def _decode_in_tensorflow(data: bytes) -> npt.NDArray[np.uint8]:
    return byte_guard.decode_upright(tf.constant(data)).numpy()


def _predictor(subject: Subject) -> Iterator[Way]:
    """As deeplab2-predict: files, decoded by Pillow."""
    predictor = Predictor.from_saved_model(subject.model)
    file = subject.work / "image"

    def decode(data: bytes) -> npt.NDArray[np.uint8]:
        file.write_bytes(data)
        return predictor.load_image(file, warn=lambda _: None)

    yield _predict_pixels(predictor, decode)


def _eager(subject: Subject, signature: str) -> Iterator[Way]:
    to_maps = choose_reader(subject, signature)
    loaded = tf.saved_model.load(str(subject.model))
    serve = loaded.signatures[signature]
    yield lambda files: to_maps(serve(image_bytes=tf.constant([*files])))


def _session(subject: Subject, signature: str) -> Iterator[Way]:
    """TensorFlow's loader for sessions, from Python."""
    to_maps = choose_reader(subject, signature)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.load(
            session, ["serve"], str(subject.model)
        )
        found = graph.signature_def[signature]
        (fed,) = found.inputs.values()
        fetched = {name: x.name for name, x in found.outputs.items()}
        yield lambda files: to_maps(
            session.run(fetched, {fed.name: list(files)})
        )


class _LoaderWay:
    """The C++ program, which loads the model anew for each call."""

    def __init__(
        self,
        run: Callable[[Sequence[Files]], list[session_loader.Arrays]],
        to_maps: Callable[[Mapping[str, Any]], list[Map]],
    ):
        self._run = run
        self._to_maps = to_maps

    def __call__(self, files: Files) -> list[Map]:
        return self.ask_many([files])

    def ask_many(self, requests: Sequence[Files]) -> list[Map]:
        """Returns the maps of all files of several requests."""
        return [m for out in self._run(requests) for m in self._to_maps(out)]


def _cc(subject: Subject, signature: str, xla: bool) -> Iterator[Way]:
    to_maps = choose_reader(subject, signature)
    problem = session_loader.find_problem()
    if problem is not None:
        raise LeftOutError(problem)
    program = subject.work / "session_loader"
    if not program.exists():
        program = session_loader.build(subject.work)

    yield _LoaderWay(
        lambda requests: session_loader.run(
            program, subject.model, signature, requests, xla=xla
        ),
        to_maps,
    )


@dataclasses.dataclass(frozen=True)
class Entry:
    """A way in the table.

    Attributes:
        open: Function that yields the way once, and then cleans up.
        takes_any_sizes: Whether a request may have files of several sizes.
    """

    open: Callable[[Subject], Iterator[Way]]
    takes_any_sizes: bool = False


def _of(
    make: Callable[..., Iterator[Way]], signature: str, *more: Any
) -> Entry:
    return Entry(
        lambda subject: make(subject, signature, *more),
        signatures.has_independent_rows(signature),
    )


_TWIN = signatures.COMPACT + signatures.XLA_SUFFIX

# All are compared with the first one.
WAYS: dict[str, Entry] = {
    "SavedModel, eager, encoded": _of(_eager, signatures.BYTES),
    "live model": Entry(lambda s: _live_model(s, _decode_in_tensorflow)),
    "Predictor, Pillow": Entry(_predictor),
    "SavedModel, eager, compact": _of(_eager, signatures.COMPACT),
    "SavedModel, eager, compact, XLA": _of(_eager, _TWIN),
    "v1 Session, encoded": _of(_session, signatures.BYTES),
    "v1 Session, compact": _of(_session, signatures.COMPACT),
    "C++ session, compact, XLA off": _of(_cc, signatures.COMPACT, False),
    "C++ session, compact, XLA": _of(_cc, _TWIN, True),
    "REST v1, compact": _of(answer_servers.ask_rest_v1, signatures.COMPACT),
    "REST v2, JSON, compact": _of(
        answer_servers.ask_rest_v2, signatures.COMPACT, False
    ),
    "REST v2, binary, compact": _of(
        answer_servers.ask_rest_v2, signatures.COMPACT, True
    ),
    "REST v2, binary, encoded": _of(
        answer_servers.ask_rest_v2, signatures.BYTES, True
    ),
    "gRPC, compact": _of(answer_servers.ask_grpc, signatures.COMPACT),
    "gRPC, encoded": _of(answer_servers.ask_grpc, signatures.BYTES),
}
