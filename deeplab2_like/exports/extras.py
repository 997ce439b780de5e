# SPDX-License-Identifier: Apache-2.0
"""Writes the files beside a SavedModel: README, descriptions, warm-up."""

import pathlib

from deeplab2_like import config as config_lib
from deeplab2_like.exports import (
    batching,
    exported_model,
    readme,
    warmup,
    warmup_requests,
)
from deeplab2_like.labels import descriptor as descriptor_lib


def write(
    folder: pathlib.Path,
    config: config_lib.Config,
    info: exported_model.ExportInfo,
    descriptor: descriptor_lib.DatasetDescriptor,
    *,
    writes_warmup: bool,
) -> None:
    """Writes the files.

    Args:
        folder: Folder of the SavedModel.
        config: The config of the run.
        info: Facts about the model.
        descriptor: The data set of the model.
        writes_warmup: Whether the requests of the warm-up are written.
    """
    exported_model.write(
        folder,
        info,
        config.options,
        config_lib.load_dataset(descriptor_lib.name_of_run(config.options)),
    )
    text = readme.make_readme(info, descriptor)
    (folder / exported_model.README_FILE).write_text(text, encoding="utf-8")
    batch_text = batching.make_text(info.batch_sizes)
    (folder / batching.FILE).write_text(batch_text, encoding="utf-8")
    if writes_warmup:
        requests = warmup_requests.make(
            info.signatures, info.typical_sizes, info.batch_sizes
        )
        warmup.write(str(folder), requests)
