# SPDX-License-Identifier: Apache-2.0
"""Records of published data sets as data sets of TensorFlow Datasets.

    import tensorflow_datasets as tfds
    from deeplab2_like.recipes.published import tfds_builder

    tfds_builder.load_builder_class()
    train = tfds.load(
        "deeplab2_like_published/cityscapes",
        split="train[:10%]",
        builder_kwargs={"records": "records"},
    )

The records are those that deeplab2-prepare wrote; they are read where they are,
and nothing is written or downloaded. TensorFlow Datasets is in the extra
`train`. This module can be imported without it.
"""

import functools
import importlib
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from deeplab2_like import errors
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.recipes import out_folder
from deeplab2_like.recipes.published import contents, sets

NAME = "deeplab2_like_published"
_VERSION = "1.0.0"
_TEMPLATE = "{SPLIT}-{SHARD_X_OF_Y}.{FILEFORMAT}"


def _import_tfds() -> Any:
    try:
        return importlib.import_module("tensorflow_datasets")
    except ImportError as error:
        raise errors.InstallError(
            "The TFDS builder of published data sets needs the package"
            " tensorflow-datasets, which is not installed. Install it by"
            ' pip install "deeplab2-like[train]".'
        ) from error


@functools.cache
def load_builder_class() -> type:
    """Makes the class of the builder, which `tfds.load` finds by name then.

    Its examples are `image`, uint8 [H, W, 3]; `panoptic`, int32 [H, W], class
    * label_divisor + instance, void where there is no label; and `name`, text.

    Raises:
        errors.InstallError: TensorFlow Datasets is not installed.
    """
    tfds: Any = _import_tfds()

    class Deeplab2LikePublished(tfds.core.GeneratorBasedBuilder):
        """Published data sets, from records of deeplab2-prepare."""

        VERSION = tfds.core.Version(_VERSION)
        RELEASE_NOTES = {_VERSION: "First release."}  # noqa: RUF012
        BUILDER_CONFIGS = [  # noqa: RUF012
            tfds.core.BuilderConfig(
                name=one.key,
                version=tfds.core.Version(_VERSION),
                description=one.title,
            )
            for one in sets.SETS
        ]
        pkg_dir_path = os.path.dirname(__file__)
        # The inherited one needs importlib_resources, which TFDS 4.9.10 does
        # not install.
        code_path = tfds.core.Path(__file__)

        def __init__(self, *, records: str | os.PathLike[str], **kwargs: Any):
            """Finds the records.

            Args:
                records: Folder that deeplab2-prepare wrote.
                **kwargs: Arguments of `GeneratorBasedBuilder`.

            Raises:
                errors.DataError: There are no records of the data set.
            """
            records = self._records = pathlib.Path(records).expanduser()
            super().__init__(**kwargs)
            key = self.builder_config.name
            splits = contents.find_splits(key, self._records)
            self.info.set_splits(_make_splits(tfds, self.name, splits, records))

        @property
        def data_path(self) -> Any:
            """The folder of the records."""
            return tfds.core.Path(self._records)

        @property
        def data_dir(self) -> str:
            """The folder of the records."""
            return str(self._records)

        def _info(self) -> Any:
            key = self.builder_config.name
            descriptor = _load_descriptor(key, self._records)
            return tfds.core.DatasetInfo(
                builder=self,
                description=f"{sets.find_set(key).title}. Classes: "
                + ", ".join(descriptor.class_names)
                + ".",
                features=_make_features(tfds, descriptor),
                supervised_keys=("image", "panoptic"),
                disable_shuffling=True,
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            del dl_manager
            raise errors.DataError(
                contents.describe_missing(
                    self.builder_config.name, self._records
                )
            )

        def _generate_examples(self) -> Any:
            raise NotImplementedError  # Records are read as they are.

    return Deeplab2LikePublished


def build(key: str, records: str | os.PathLike[str]) -> Any:
    """Creates the builder of a published data set.

    Args:
        key: Name of the data set, as deeplab2-prepare has it.
        records: Folder that deeplab2-prepare wrote.

    Returns:
        A `tfds.core.DatasetBuilder`: call `as_dataset(split=...)`.

    Raises:
        errors.InstallError: TensorFlow Datasets is not installed.
        errors.ConfigError: There is no such data set.
        errors.DataError: There are no records of it.
    """
    sets.find_set(key)
    return load_builder_class()(records=records, config=key)


def _load_descriptor(key: str, records: pathlib.Path) -> DatasetDescriptor:
    name = sets.find_set(key).dataset
    if name:
        return descriptor_lib.load(name)
    path = records / out_folder.DATASET_FILE
    if not path.exists():
        raise errors.DataError(contents.describe_missing(key, records))
    return descriptor_lib.load(str(path))


def _make_splits(
    tfds: Any,
    name: str,
    splits: Mapping[str, contents.Shards],
    records: pathlib.Path,
) -> Any:
    return tfds.core.SplitDict(
        [
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=list(shards.lengths),
                num_bytes=shards.num_bytes,
                filename_template=tfds.core.ShardedFileTemplate(
                    data_dir=os.fspath(records),
                    template=_TEMPLATE,
                    dataset_name=name,
                    split=split,
                    filetype_suffix="tfrecord",
                ),
            )
            for split, shards in splits.items()
        ]
    )


def _make_features(tfds: Any, descriptor: DatasetDescriptor) -> Any:
    """Returns the features of examples, which decode records as they are."""
    import tensorflow as tf

    from deeplab2_like.data import pipeline
    from deeplab2_like.data.records import decoding
    from deeplab2_like.data.records import features as record_features

    rules = vars(pipeline.LabelRules.from_descriptor(descriptor))

    class RecordFeatures(tfds.features.FeaturesDict):
        """The examples of records."""

        def get_serialized_info(self) -> dict[str, Any]:
            """Returns what is read of a record."""
            text = tfds.features.TensorInfo(
                shape=(), dtype=np.object_, default_value=""
            )
            return dict.fromkeys(record_features.TEXTS, text)

        def decode_example(
            self, parsed: dict[str, tf.Tensor], decoders: Any = None
        ) -> dict[str, tf.Tensor]:
            """Decodes what was read of a record."""
            if decoders is not None:
                raise errors.ConfigError(
                    f"{NAME} has no decoders of its own. Leave them out."
                )
            return decoding.decode_parsed(
                record_features.take_texts(parsed),
                **rules,
                is_label_required=False,
            )

    return RecordFeatures(
        {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "panoptic": tfds.features.Tensor(
                shape=(None, None), dtype=np.int32, encoding="zlib"
            ),
            "name": tfds.features.Text(),
        }
    )
