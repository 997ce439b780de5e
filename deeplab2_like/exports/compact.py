# SPDX-License-Identifier: Apache-2.0
"""Files in, small answers out, each row of a request on its own.

An answer is the map as a PNG in COCO's coding and a table of the segments, what
`results.PanopticResult` makes of the maps. A file that cannot be used gets a
sentence; the other rows are answered as if alone.
"""

import tensorflow as tf

from deeplab2_like.data import preprocessing as preprocessing_lib
from deeplab2_like.exports import byte_guard
from deeplab2_like.graph import checks
from deeplab2_like.inference import any_size
from deeplab2_like.inference import canvas as canvas_lib
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.meta_architectures import contract

Tensors = dict[str, tf.Tensor]

# More ids are searched for, not looked up in a table of all.
_MAX_TABLE = 1 << 22
# A third larger than the smallest for label maps, in a quarter of the time.
_COMPRESSION = 3
# Each of them may hold a decoded image.
_PARALLEL_ROWS = 4

# float32 [H, W, 3] and int32 [2], see `canvas.place_images`; int32 [2], the
# size of the image; and string scalar, what is wrong with the file, or "".
_Placed = tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]


class CompactAnswers:
    """The function from files to the outputs that `ServingModule` lists."""

    def __init__(
        self,
        system: contract.MetaArchitecture,
        segment: tf.types.experimental.PolymorphicFunction,
        preprocessing: preprocessing_lib.Preprocessing,
        max_pixels: int,
    ):
        """Takes the parts.

        Args:
            system: The system.
            segment: The function that `any_size.make_segment` made.
            preprocessing: Options of preprocessing.
            max_pixels: Most pixels of an image; and, where all images have
                one size of canvas, of the canvases of a request.
        """
        self._system = system
        self._segment = segment
        self._preprocessing = preprocessing
        self._max_pixels = max_pixels
        self._size = canvas_lib.static_size(preprocessing)
        # Of the prediction on the canvas, by name.
        self._fields = segment.get_concrete_function().structured_outputs
        self._num_rows = self._fields["segment_id"].shape[1]

    def serve(self, encoded_b: tf.Tensor) -> Tensors:
        """Answers string [B], the bytes of JPEG and PNG files; B >= 1."""
        checked = [byte_guard.check_any(encoded_b)]
        if self._size is not None:
            height, width = self._size
            limit = max(1, self._max_pixels // (height * width))
            checked.append(_check_count(tf.size(encoded_b), limit))
        with checks.after(*checked):
            encoded_b = tf.identity(encoded_b)
        if self._size is not None:
            return self._serve_together(encoded_b)
        return tf.map_fn(
            self._serve_alone,
            encoded_b,
            parallel_iterations=1,
            fn_output_signature=_answer_spec(self._num_rows),
        )

    def _serve_alone(self, encoded: tf.Tensor) -> Tensors:
        """Answers one file, on a canvas of its own size."""
        canvas_hw3, valid_size, image_size, problem = self._place(encoded)
        valid_size_12 = valid_size[tf.newaxis]

        def predict() -> Tensors:
            prediction = self._segment(canvas_hw3[tf.newaxis], valid_size_12)
            return self._answer(prediction, valid_size_12, image_size)

        return tf.cond(
            problem == "", predict, lambda: _refuse(problem, self._num_rows)
        )

    def _serve_together(self, encoded_b: tf.Tensor) -> Tensors:
        """Answers files on canvases of one size; those that are good at once.

        Args:
            encoded_b: See `serve`.
        """
        placed = tf.map_fn(
            self._place,
            encoded_b,
            parallel_iterations=_PARALLEL_ROWS,
            fn_output_signature=_placed_spec(self._size),
        )
        canvas_bhw3, valid_size_b2, _, problem_b = placed
        is_good_b = problem_b == ""
        good_n = tf.where(is_good_b)[:, 0]
        prediction = tf.cond(
            tf.size(good_n) > 0,
            lambda: self._segment(
                tf.gather(canvas_bhw3, good_n), tf.gather(valid_size_b2, good_n)
            ),
            lambda: tf.nest.map_structure(_make_none, self._fields),
        )

        def finish(row: tuple[tf.Tensor, ...]) -> Tensors:
            valid_size, image_size, problem, index = row

            def answer() -> Tensors:
                alone = {
                    name: value[index][tf.newaxis]
                    for name, value in prediction.items()
                }
                return self._answer(alone, valid_size[tf.newaxis], image_size)

            return tf.cond(
                problem == "", answer, lambda: _refuse(problem, self._num_rows)
            )

        return tf.map_fn(
            finish,
            (*placed[1:], tf.cumsum(tf.cast(is_good_b, tf.int32)) - 1),
            parallel_iterations=_PARALLEL_ROWS,
            fn_output_signature=_answer_spec(self._num_rows),
        )

    def _place(self, encoded: tf.Tensor) -> _Placed:
        image, problem = byte_guard.decode_row(encoded, self._max_pixels)
        canvas_1hw3, valid_size_12 = canvas_lib.place_images(
            image[tf.newaxis], self._preprocessing
        )
        return canvas_1hw3[0], valid_size_12[0], tf.shape(image)[:2], problem

    def _answer(
        self,
        prediction: Tensors,
        valid_size_12: tf.Tensor,
        image_size: tf.Tensor,
    ) -> Tensors:
        outputs = any_size.restore_prediction(
            prediction, valid_size_12, image_size, self._system
        )
        row = {name: value[0] for name, value in outputs.items()}
        return _describe(row, self._system.descriptor)


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


def _answer_spec(num_rows: int) -> dict[str, tf.TensorSpec]:
    return {
        "panoptic_png_bytes": tf.TensorSpec([], tf.string),
        "num_segments": tf.TensorSpec([], tf.int32),
        "segment_id": tf.TensorSpec([num_rows], tf.int32),
        "segment_category_id": tf.TensorSpec([num_rows], tf.int32),
        "segment_isthing": tf.TensorSpec([num_rows], tf.bool),
        "segment_score": tf.TensorSpec([num_rows], tf.float32),
        "segment_area": tf.TensorSpec([num_rows], tf.int32),
        "height": tf.TensorSpec([], tf.int32),
        "width": tf.TensorSpec([], tf.int32),
        "error": tf.TensorSpec([], tf.string),
    }


def _make_none(spec: tf.TensorSpec) -> tf.Tensor:
    """Makes a tensor for no images."""
    return tf.zeros([0, *(side or 0 for side in spec.shape[1:])], spec.dtype)


def _refuse(problem: tf.Tensor, num_rows: int) -> Tensors:
    """Makes the answer for a file that cannot be used."""
    answer = {
        name: tf.zeros(spec.shape, spec.dtype)
        for name, spec in _answer_spec(num_rows).items()
    }
    return {**answer, "error": problem}


def _describe(
    outputs: Tensors, descriptor: descriptor_lib.DatasetDescriptor
) -> Tensors:
    """Makes the answer from the outputs of `restore_prediction` for an image.

    Args:
        outputs: The outputs, without the axis of the batch.
        descriptor: The data set.
    """
    is_valid = outputs["segment_is_valid"]
    # Those that are segments come first and are numbered from 1.
    order = tf.argsort(tf.cast(~is_valid, tf.int32), stable=True)
    count = tf.reduce_sum(tf.cast(is_valid, tf.int32))
    number = tf.range(1, tf.size(is_valid) + 1)
    is_used = number <= count
    table = {
        name: tf.gather(outputs[f"segment_{name}"], order)
        for name in ("id", "category", "score", "area")
    }
    ids_hw = outputs.get("panoptic")
    if ids_hw is None:
        ids_hw = outputs["semantic"] * descriptor.label_divisor
    rgb_hw3 = _color(ids_hw, table["id"][:count], descriptor)
    classes = tf.clip_by_value(table["category"], 0, descriptor.num_classes - 1)
    is_thing = [descriptor.is_thing(i) for i in range(descriptor.num_classes)]
    shape = tf.shape(ids_hw)
    return {
        "panoptic_png_bytes": tf.io.encode_png(rgb_hw3, _COMPRESSION),
        "num_segments": count,
        "segment_id": tf.where(is_used, number, 0),
        "segment_category_id": tf.where(
            is_used, tf.gather(tf.constant(descriptor.category_ids), classes), 0
        ),
        "segment_isthing": is_used & tf.gather(tf.constant(is_thing), classes),
        "segment_score": table["score"],
        "segment_area": table["area"],
        "height": shape[0],
        "width": shape[1],
        "error": tf.constant(""),
    }


def _color(
    ids_hw: tf.Tensor,
    segment_ids_n: tf.Tensor,
    descriptor: descriptor_lib.DatasetDescriptor,
) -> tf.Tensor:
    """Replaces ids by the colors of their segments' numbers.

    Args:
        ids_hw: int32 [H, W].
        segment_ids_n: int32 [N], the ids of segments 1 to N.
        descriptor: The data set.

    Returns:
        uint8 [H, W, 3], number = R + 256 G + 65536 B; 0 for other ids.
    """
    number = tf.range(1, tf.size(segment_ids_n) + 1)
    parts = [number % 256, number // 256 % 256, number // 65536]
    colors_n3 = tf.cast(tf.stack(parts, axis=1), tf.uint8)
    num_ids = any_size.count_ids(descriptor)
    if num_ids <= _MAX_TABLE:
        table = tf.scatter_nd(
            segment_ids_n[:, tf.newaxis], colors_n3, [num_ids, 3]
        )
        return tf.gather(table, ids_hw)
    order = tf.argsort(segment_ids_n)
    # The first one stands for ids that are not those of a segment.
    known = tf.concat([[-1], tf.gather(segment_ids_n, order)], axis=0)
    table = tf.pad(tf.gather(colors_n3, order), [[1, 0], [0, 0]])
    place = tf.searchsorted(known, tf.reshape(ids_hw, [-1]), side="right") - 1
    place = tf.reshape(place, tf.shape(ids_hw))
    return tf.gather(
        table, tf.where(tf.gather(known, place) == ids_hw, place, 0)
    )
