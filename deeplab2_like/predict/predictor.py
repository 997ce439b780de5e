# SPDX-License-Identifier: Apache-2.0
"""Predicts images with an exported model.

    predictor = Predictor.from_saved_model("saved")
    result = predictor.predict("photo.jpg")

The methods are in `images.ImagePredictor`.
"""

import io
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.exports import exported_model
from deeplab2_like.labels import coco_format
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.predict.images import ImagePredictor
from deeplab2_like.results.panoptic_result import PanopticResult
from deeplab2_like.storage import user_paths

if TYPE_CHECKING:
    from deeplab2_like.large_images.network import TileModel


class Predictor(ImagePredictor):
    """An exported model that predicts one image at a time.

    Threads may share a predictor. Pickled, it is the path of its folder: a
    process that unpickles it loads the model again.

    Attributes:
        info: Facts about the model.
    """

    def __init__(
        self,
        model: Any,
        info: exported_model.ExportInfo,
        descriptor: descriptor_lib.DatasetDescriptor,
        directory: str | os.PathLike[str] | None = None,
    ):
        """Wraps a SavedModel; see `from_saved_model`.

        Args:
            model: The loaded SavedModel.
            info: Facts about the model.
            descriptor: The data set of the model.
            directory: Folder of the SavedModel; None if it lies in none, so
                that the predictor cannot be pickled.
        """
        self.info = info
        self.descriptor = descriptor
        self.max_pixels = info.max_pixels
        # Another process may have another working directory.
        self._directory = os.path.abspath(directory) if directory else None
        self._model = model  # Its signatures do not keep it alive.
        self._signature = model.signatures["serving_default"]

    @classmethod
    def from_saved_model(cls, directory: str | os.PathLike[str]) -> Self:
        """Loads a folder that deeplab2-export wrote.

        Raises:
            ConfigError: TensorFlow would read the path as a pattern.
            ExportError: The folder is not an exported model, or is damaged.
        """
        directory = user_paths.expand_checkpoint(directory)
        return cls(*_load(directory), directory)

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[str]]:
        if self._directory is None:
            raise errors.ExportError(
                "This predictor cannot be pickled, because its model was not "
                "loaded from a folder. Use Predictor.from_saved_model."
            )
        return type(self).from_saved_model, (self._directory,)

    def warm_up(self) -> None:
        """Runs the model once, so that the first image is as fast as others.

        Models whose canvas depends on the image are slower again on each new
        size.
        """
        for height, width in self.info.typical_sizes:
            self._run(np.zeros((height, width, 3), np.uint8))

    def predict_encoded(
        self, files: Sequence[bytes]
    ) -> list[PanopticResult | errors.DataError]:
        """Predicts the segments of images in one call of the model.

        The model decodes them, with TensorFlow's decoders and not Pillow's, as
        it does in a server.

        Args:
            files: The bytes of JPEG and PNG files, of any sizes; at least one.

        Returns:
            For each file what `predict` returns, or what is wrong with it.

        Raises:
            DataError: There are no files, or too many for one call.
            ExportError: The model was exported without the signature
                encoded_compact.
        """
        import tensorflow as tf

        serve = self._model.signatures.get("encoded_compact")
        if serve is None:
            raise errors.ExportError(
                "This model has no signature encoded_compact. Export it again, "
                "with --compact_signature=true; or use predict for each image."
            )
        outputs = self._run_graph(serve, tf.constant(list(files), tf.string))
        return [
            self._read_row({name: x[row] for name, x in outputs.items()})
            for row in range(len(files))
        ]

    def _run_graph(self, serve: Any, encoded: Any) -> dict[str, Any]:
        import tensorflow as tf

        from deeplab2_like.graph import checks

        try:
            outputs = serve(image_bytes=encoded)
        except tf.errors.InvalidArgumentError as error:
            sentence = checks.find_sentence(error, checks.REQUEST)
            if sentence is None:
                raise
            raise errors.DataError(sentence) from error
        return {name: value.numpy() for name, value in outputs.items()}

    def _read_row(
        self, row: Mapping[str, Any]
    ) -> PanopticResult | errors.DataError:
        """Makes a result of the compact answer for one file."""
        if row["error"]:
            return errors.DataError(row["error"].decode("utf-8", "replace"))
        with Image.open(io.BytesIO(row["panoptic_png_bytes"])) as image:
            ids_hw = coco_format.decode_ids(np.asarray(image))
        columns = [
            row[f"segment_{name}"][: row["num_segments"]].tolist()
            for name in ("id", "category_id", "score")
        ]
        segments_info = [
            {"id": number, "category_id": category, "score": score}
            for number, category, score in zip(*columns, strict=True)
        ]
        return PanopticResult.from_coco(
            ids_hw, {"segments_info": segments_info}, self.descriptor
        )

    def tile_model(self) -> "TileModel":
        """Returns the network alone, for parts of large images.

        Raises:
            ExportError: It was not exported.
        """
        infer = getattr(self._model, "infer_tile", None)
        if infer is None or self._directory is None:
            raise errors.ExportError(
                "This model was exported without its network alone, which "
                "tiles need. Export it again with --tile_function, or name the "
                "folder of the training run instead."
            )
        from deeplab2_like.inference import canvas
        from deeplab2_like.large_images.network import TileModel
        from deeplab2_like.meta_architectures import build

        options = exported_model.load_options(self._directory)
        system = build.build_system(options, self.descriptor)
        return TileModel(
            system,
            canvas.build_preprocessing(
                options, canvas.FIT, system.output_stride
            ),
            infer,
            exported_model.identify(self._directory),
        )

    def _serve(self, images: Any) -> Mapping[str, Any]:
        return self._signature(images=images)


def _load(
    directory: str | os.PathLike[str],
) -> tuple[Any, exported_model.ExportInfo, descriptor_lib.DatasetDescriptor]:
    """Loads a SavedModel and its facts; see `Predictor.from_saved_model`."""
    info = exported_model.load_info(directory)
    descriptor = exported_model.load_descriptor(directory)
    import tensorflow as tf

    try:
        model = tf.saved_model.load(os.fspath(directory))
    except (tf.errors.OpError, OSError, ValueError, IndexError) as error:
        reason = str(error).splitlines()[0][:200]
        raise errors.ExportError(
            f"The SavedModel {directory} cannot be loaded ({reason}). Copy "
            "or export it again."
        ) from error
    return model, info, descriptor
