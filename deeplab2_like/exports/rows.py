# SPDX-License-Identifier: Apache-2.0
"""Files in, an answer for each out, each row of a request on its own.

A file that cannot be used gets a sentence; the other rows are answered as if
alone. What an answer consists of is for `Answer`s to say.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from deeplab2_like.exports import byte_guard
from deeplab2_like.graph import checks
from deeplab2_like.inference import any_size, buckets
from deeplab2_like.inference import canvas as canvas_lib
from deeplab2_like.meta_architectures import contract

Tensors = dict[str, tf.Tensor]

ERROR = "error"
# Each of them may hold a decoded image.
_PARALLEL_ROWS = 4

# float32 [H, W, 3] and int32 [2], see `canvas.place_images`; int32 [2], the
# size of the image; and string scalar, what is wrong with the file, or "".
_Placed = tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Answer:
    """An answer for one file.

    Attributes:
        spec: Its outputs by name, without the axis of the rows.
        make: Function that makes them, of the bytes of a file, which is good,
            and of the outputs of `any_size.restore_prediction` for its image,
            without the axis of the batch.
    """

    spec: Mapping[str, tf.TensorSpec]
    make: Callable[[tf.Tensor, Tensors], Tensors]


def count_table_rows(made: Sequence[buckets.Bucket]) -> int:
    """Returns the number of rows of the table of segments."""
    fields = made[0].segment.get_concrete_function().structured_outputs
    return int(fields["segment_id"].shape[1])


def max_rows(max_pixels: int, sizes: Sequence[tuple[int, int]]) -> int | None:
    """Returns the most files of a request; None where any number is allowed.

    Args:
        max_pixels: Most pixels of the canvases of a request.
        sizes: The sizes of canvas; none where the image decides.
    """
    if not sizes:
        return None
    return max(1, max_pixels // max(math.prod(size) for size in sizes))


class FileRows:
    """The function from files to answers."""

    def __init__(
        self,
        system: contract.MetaArchitecture,
        made: Sequence[buckets.Bucket],
        max_pixels: int,
        answer: Answer,
    ):
        """Takes the parts.

        Args:
            system: The system.
            made: The network on each size of canvas, the smallest first.
            max_pixels: Most pixels of an image; and, where the sizes of the
                canvases are fixed, of the canvases of a request.
            answer: What is answered.
        """
        self._system = system
        self._made = made
        self._preprocessings = [bucket.preprocessing for bucket in made]
        self._max_pixels = max_pixels
        self._answer = answer
        sizes = [bucket.size for bucket in made if bucket.size is not None]
        self._max_rows = max_rows(max_pixels, sizes)

    def serve(self, encoded_b: tf.Tensor) -> Tensors:
        """Answers string [B], the bytes of JPEG and PNG files; B >= 1."""
        checked = [byte_guard.check_any(encoded_b)]
        if self._max_rows is not None:
            checked.append(_check_count(tf.size(encoded_b), self._max_rows))
        with checks.after(*checked):
            encoded_b = tf.identity(encoded_b)
        if self._max_rows is None:
            return tf.map_fn(
                self._serve_alone,
                encoded_b,
                parallel_iterations=1,
                fn_output_signature=self._spec(),
            )
        if len(self._made) == 1:
            return self._serve_together(encoded_b, self._made[0])
        return self._serve_by_size(encoded_b)

    def _serve_by_size(self, encoded_b: tf.Tensor) -> Tensors:
        """Answers the files of each size of canvas together.

        Args:
            encoded_b: See `serve`.
        """

        def find(encoded: tf.Tensor) -> tf.Tensor:
            size = byte_guard.read_upright_size(encoded, self._max_pixels)
            return buckets.choose(size, self._preprocessings)

        # Files that cannot be used are refused on any canvas.
        bucket_b = tf.map_fn(
            find,
            encoded_b,
            parallel_iterations=_PARALLEL_ROWS,
            fn_output_signature=tf.TensorSpec([], tf.int32),
        )
        places, answers = [], []
        for index, bucket in enumerate(self._made):
            place_n = tf.where(bucket_b == index)[:, 0]
            places.append(place_n)
            part_n = tf.gather(encoded_b, place_n)
            answers.append(self._serve_together(part_n, bucket))
        order = tf.argsort(tf.concat(places, axis=0))
        return {
            name: tf.gather(
                tf.concat([part[name] for part in answers], axis=0), order
            )
            for name in answers[0]
        }

    def _serve_alone(self, encoded: tf.Tensor) -> Tensors:
        """Answers one file, on a canvas of its own size."""
        (bucket,) = self._made
        canvas_hw3, valid_size, image_size, problem = self._place(
            encoded, bucket
        )
        valid_size_12 = valid_size[tf.newaxis]

        def predict() -> Tensors:
            prediction = bucket.segment(canvas_hw3[tf.newaxis], valid_size_12)
            return self._finish(encoded, prediction, valid_size_12, image_size)

        return tf.cond(problem == "", predict, lambda: self._refuse(problem))

    def _serve_together(
        self, encoded_b: tf.Tensor, bucket: buckets.Bucket
    ) -> Tensors:
        """Answers files on canvases of one size; those that are good at once.

        Args:
            encoded_b: string [B], as in `serve`; B may be 0.
            bucket: The canvas.
        """
        placed = tf.map_fn(
            lambda encoded: self._place(encoded, bucket),
            encoded_b,
            parallel_iterations=_PARALLEL_ROWS,
            fn_output_signature=_placed_spec(bucket.size),
        )
        canvas_bhw3, valid_size_b2, _, problem_b = placed
        is_good_b = problem_b == ""
        good_n = tf.where(is_good_b)[:, 0]
        fields = bucket.segment.get_concrete_function().structured_outputs
        prediction = tf.cond(
            tf.size(good_n) > 0,
            lambda: bucket.segment(
                tf.gather(canvas_bhw3, good_n), tf.gather(valid_size_b2, good_n)
            ),
            lambda: tf.nest.map_structure(_make_none, fields),
        )

        def finish(row: tuple[tf.Tensor, ...]) -> Tensors:
            encoded, valid_size, image_size, problem, index = row

            def answer() -> Tensors:
                alone = {
                    name: value[index][tf.newaxis]
                    for name, value in prediction.items()
                }
                return self._finish(
                    encoded, alone, valid_size[tf.newaxis], image_size
                )

            return tf.cond(problem == "", answer, lambda: self._refuse(problem))

        index_b = tf.cumsum(tf.cast(is_good_b, tf.int32)) - 1
        return tf.map_fn(
            finish,
            (encoded_b, *placed[1:], index_b),
            parallel_iterations=_PARALLEL_ROWS,
            fn_output_signature=self._spec(),
        )

    def _place(self, encoded: tf.Tensor, bucket: buckets.Bucket) -> _Placed:
        image, problem = byte_guard.decode_row(encoded, self._max_pixels)
        canvas_1hw3, valid_size_12 = canvas_lib.place_images(
            image[tf.newaxis], bucket.preprocessing
        )
        return canvas_1hw3[0], valid_size_12[0], tf.shape(image)[:2], problem

    def _finish(
        self,
        encoded: tf.Tensor,
        prediction: Tensors,
        valid_size_12: tf.Tensor,
        image_size: tf.Tensor,
    ) -> Tensors:
        outputs = any_size.restore_prediction(
            prediction, valid_size_12, image_size, self._system
        )
        row = {name: value[0] for name, value in outputs.items()}
        made = self._answer.make(encoded, row)
        return {**made, ERROR: tf.constant("")}

    def _spec(self) -> dict[str, tf.TensorSpec]:
        return {**self._answer.spec, ERROR: tf.TensorSpec([], tf.string)}

    def _refuse(self, problem: tf.Tensor) -> Tensors:
        """Makes the answer for a file that cannot be used."""
        answer = {
            name: tf.zeros(spec.shape, spec.dtype)
            for name, spec in self._answer.spec.items()
        }
        return {**answer, ERROR: problem}


def _check_count(count: tf.Tensor, limit: int) -> tf.Tensor:
    """Checks that the canvases of a request are not too large together."""
    return checks.check(
        count <= limit,
        lambda: checks.sentence(
            "The request has ",
            count,
            f" images. Allowed are 1 to {limit}: send the others in further "
            "requests.",
        ),
        checks.REQUEST,
    )


def _placed_spec(size: tuple[int, int] | None) -> tuple[tf.TensorSpec, ...]:
    return (
        tf.TensorSpec([*(size or (None, None)), 3], tf.float32),
        tf.TensorSpec([2], tf.int32),
        tf.TensorSpec([2], tf.int32),
        tf.TensorSpec([], tf.string),
    )


def _make_none(spec: tf.TensorSpec) -> tf.Tensor:
    """Makes a tensor for no images."""
    return tf.zeros([0, *(side or 0 for side in spec.shape[1:])], spec.dtype)
