# SPDX-License-Identifier: Apache-2.0
"""`scenes` as a data set of TensorFlow Datasets.

    import tensorflow_datasets as tfds
    from deeplab2_like.data import scenes_builder

    builder = scenes_builder.build_scenes("~/tensorflow_datasets")
    builder.download_and_prepare()  # draws; nothing is downloaded
    train = builder.as_dataset(split="train")

TensorFlow Datasets is in the extra `train`. This module can be imported
without it; the class `Scenes` is made when it is first asked for.
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
    * 1000 + instance; and `name`, text. One argument more than other builders
    have: `counts`, {split: number of scenes}; `size`, (height, width); and
    `seed` of the data set. They are part of the config's name, so that data
    of different arguments never meet in a folder.

    Raises:
        errors.InstallError: TensorFlow Datasets is not installed.
    """
    tfds: Any = _import_tfds()

    class Scenes(tfds.core.GeneratorBasedBuilder):
        """Miniature streets drawn by seed, with panoptic labels."""

        VERSION = tfds.core.Version("1.0.0")
        RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012
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
            self._counts = dict(counts or DEFAULT_COUNTS)
            self._size = (int(size[0]), int(size[1]))
            self._seed = seed
            for split, count in self._counts.items():
                scene_lib.compute_seed(split, max(count, 1) - 1, seed)
            name = f"{self._size[0]}x{self._size[1]}_seed{seed}_" + "_".join(
                f"{split}{count}" for split, count in self._counts.items()
            )
            config = tfds.core.BuilderConfig(
                name=name,
                version=self.VERSION,
                description=f"{size[0]}x{size[1]} pixels, seed {seed}.",
            )
            kwargs.setdefault("config", config)
            super().__init__(**kwargs)

        def _info(self) -> Any:
            return tfds.core.DatasetInfo(
                builder=self,
                description="Miniature streets drawn by seed, for demos and "
                "tests. Classes: " + ", ".join(scene_lib.CLASS_NAMES) + ".",
                features=tfds.features.FeaturesDict(
                    {
                        "image": tfds.features.Image(
                            shape=(*self._size, 3), encoding_format="png"
                        ),
                        "panoptic": tfds.features.Tensor(
                            shape=self._size, dtype=np.int32, encoding="zlib"
                        ),
                        "name": tfds.features.Text(),
                    }
                ),
                supervised_keys=("image", "panoptic"),
                disable_shuffling=True,
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            del dl_manager
            return {
                split: self._generate_examples(split, count)
                for split, count in self._counts.items()
            }

        def _generate_examples(
            self, split: str, count: int
        ) -> Iterator[tuple[int, dict[str, Any]]]:
            for index in range(count):
                seed = scene_lib.compute_seed(split, index, self._seed)
                scene = scene_lib.make_scene(seed, self._size)
                yield (
                    index,
                    {
                        "image": scene.image,
                        "panoptic": scene.panoptic,
                        "name": scenes_records.name_scene(split, index),
                    },
                )

    Scenes.__qualname__ = "Scenes"
    return Scenes


def build_scenes(
    data_dir: str | os.PathLike[str],
    *,
    counts: Mapping[str, int] | None = None,
    size: tuple[int, int] = (129, 257),
    seed: int = 0,
) -> Any:
    """Builds the builder of the data set; draws nothing yet.

    Args:
        data_dir: Folder of all TFDS data sets.
        counts: Number of scenes of each split; 800 train, 100 val and 100
            test when None.
        size: Height and width in pixels.
        seed: Seed of the data set.

    Returns:
        A `tfds.core.GeneratorBasedBuilder`: call `download_and_prepare()` and
        `as_dataset(split=...)`.

    Raises:
        errors.InstallError: TensorFlow Datasets is not installed.
        errors.DataError: A split that does not exist, or a negative seed.
    """
    builder = load_builder_class()
    return builder(data_dir=data_dir, counts=counts, size=size, seed=seed)


def __getattr__(name: str) -> Any:
    if name == "Scenes":
        return load_builder_class()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
