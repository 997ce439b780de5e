# SPDX-License-Identifier: Apache-2.0
"""`scenes` as a data set of TensorFlow Datasets.

    import tensorflow_datasets as tfds
    from deeplab2_like.scenes import tfds_builder

    builder = tfds_builder.build_scenes("~/tensorflow_datasets")
    builder.download_and_prepare()  # draws; nothing is downloaded
    train = builder.as_dataset(split="train")

TensorFlow Datasets is in the extra `train`. This module can be imported
without it: the class `Scenes` is made at its first use.
"""

import functools
import importlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from deeplab2_like import errors
from deeplab2_like.scenes import records as scenes_records
from deeplab2_like.scenes import scene as scene_lib

DEFAULT_COUNTS = {"train": 800, "val": 100, "test": 100}
_VERSION = "1.0.0"


def _import_tfds() -> Any:
    try:
        return importlib.import_module("tensorflow_datasets")
    except ImportError as error:
        raise errors.InstallError(
            "The TFDS builder of scenes needs the package"
            " tensorflow-datasets, which is not installed. Install it by"
            ' pip install "deeplab2-like[train]", or write records without it:'
            " python data/make_scenes.py --out=scenes"
        ) from error


@functools.cache
def load_builder_class() -> type:
    """Makes the class `Scenes`, a `tfds.core.GeneratorBasedBuilder`.

    Its examples are `image`, uint8 [H, W, 3]; `panoptic`, int32 [H, W], class
    * 1000 + instance; and `name`, text. The counts, the size and the seed are
    part of the config's name, so that data of different arguments are in
    different folders.

    Raises:
        InstallError: TensorFlow Datasets is not installed.
    """
    tfds: Any = _import_tfds()

    class Scenes(tfds.core.GeneratorBasedBuilder):
        """Miniature streets drawn by seed, with panoptic labels."""

        VERSION = tfds.core.Version(_VERSION)
        RELEASE_NOTES = {_VERSION: "First release."}  # noqa: RUF012
        pkg_dir_path = os.path.dirname(__file__)
        # The inherited one needs importlib_resources, which TFDS 4.9.10 does
        # not install.
        code_path = tfds.core.Path(__file__)

        def __init__(
            self,
            *,
            counts: Mapping[str, int] | None = None,
            size: tuple[int, int] = (129, 257),
            seed: int = 0,
            **kwargs: Any,
        ):
            """Creates a builder; draws nothing yet.

            Args:
                counts: Number of scenes of each split; `DEFAULT_COUNTS` if
                    None.
                size: Height and width in pixels.
                seed: Seed of the data set.
                **kwargs: Arguments of `GeneratorBasedBuilder`.
            """
            self._counts = dict(counts or DEFAULT_COUNTS)
            self._size = (int(size[0]), int(size[1]))
            self._seed = seed
            config = _make_config(tfds, self._counts, self._size, seed)
            kwargs.setdefault("config", config)
            super().__init__(**kwargs)

        def _info(self) -> Any:
            return _make_info(tfds, self, self._size)

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            del dl_manager
            return {
                split: self._generate_examples(split, count)
                for split, count in self._counts.items()
            }

        def _generate_examples(
            self, split: str, count: int
        ) -> Iterator[tuple[int, dict[str, Any]]]:
            return _draw_examples(split, count, self._size, self._seed)

    Scenes.__qualname__ = "Scenes"
    return Scenes


def _make_config(
    tfds: Any, counts: Mapping[str, int], size: tuple[int, int], seed: int
) -> Any:
    """Returns the `BuilderConfig` that is named after its arguments.

    Raises:
        DataError: A split does not exist, or a number is out of range.
    """
    for split, count in counts.items():
        scene_lib.compute_seed(split, max(count, 1) - 1, seed)
    splits = "_".join(f"{split}{count}" for split, count in counts.items())
    return tfds.core.BuilderConfig(
        name=f"{size[0]}x{size[1]}_seed{seed}_{splits}",
        version=tfds.core.Version(_VERSION),
        description=f"{size[0]}x{size[1]} pixels, seed {seed}.",
    )


def _make_info(tfds: Any, builder: Any, size: tuple[int, int]) -> Any:
    """Returns the `DatasetInfo` of a builder of scenes of a size."""
    return tfds.core.DatasetInfo(
        builder=builder,
        description="Miniature streets drawn by seed, for demos and "
        "tests. Classes: " + ", ".join(scene_lib.CLASS_NAMES) + ".",
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(
                    shape=(*size, 3), encoding_format="png"
                ),
                "panoptic": tfds.features.Tensor(
                    shape=size, dtype=np.int32, encoding="zlib"
                ),
                "name": tfds.features.Text(),
            }
        ),
        supervised_keys=("image", "panoptic"),
        disable_shuffling=True,
    )


def _draw_examples(
    split: str, count: int, size: tuple[int, int], seed: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Draws the examples of a split.

    Yields:
        The index of a scene and its features.
    """
    for index in range(count):
        scene = scene_lib.make_scene(
            scene_lib.compute_seed(split, index, seed), size
        )
        yield (
            index,
            {
                "image": scene.image,
                "panoptic": scene.panoptic,
                "name": scenes_records.name_scene(split, index),
            },
        )


def build_scenes(
    data_dir: str | os.PathLike[str],
    *,
    counts: Mapping[str, int] | None = None,
    size: tuple[int, int] = (129, 257),
    seed: int = 0,
) -> Any:
    """Creates the builder of the data set; draws nothing yet.

    Args:
        data_dir: Folder of all TFDS data sets.
        counts: Number of scenes of each split; `DEFAULT_COUNTS` if None.
        size: Height and width in pixels.
        seed: Seed of the data set.

    Returns:
        A `tfds.core.GeneratorBasedBuilder`: call `download_and_prepare()` and
        `as_dataset(split=...)`.

    Raises:
        InstallError: TensorFlow Datasets is not installed.
        DataError: A split does not exist, or the seed is negative.
    """
    builder = load_builder_class()
    return builder(data_dir=data_dir, counts=counts, size=size, seed=seed)


def __getattr__(name: str) -> Any:
    if name == "Scenes":
        return load_builder_class()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
