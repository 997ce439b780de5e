# SPDX-License-Identifier: Apache-2.0
"""The folder of a training run, and the config in it."""

import os
import pathlib
from collections.abc import Mapping

from google.protobuf import text_format

from deeplab2_like import errors
from deeplab2_like.config import run_config
from deeplab2_like.protos import config_pb2
from deeplab2_like.storage import any_files, whole_files
from deeplab2_like.trainer import config_changes, folder_lock


def check(
    directory: str,
    options: config_pb2.ExperimentOptions,
    *,
    allow_config_change: bool = False,
) -> None:
    """Checks that a folder can be trained in; changes nothing.

    Args:
        directory: The model folder, which need not exist.
        options: See `prepare`.
        allow_config_change: See `prepare`.

    Raises:
        CheckpointError: See `prepare`; or another trainer uses the folder.
    """
    _check_writable(directory)
    if any_files.exists(directory):
        _compare(directory, options, allow_config_change)
        folder_lock.refuse_other_trainer(directory)


def prepare(
    directory: str,
    options: config_pb2.ExperimentOptions,
    *,
    sha256: str,
    allow_config_change: bool = False,
) -> list[str]:
    """Creates a model folder, or checks that it belongs to this config.

    Args:
        directory: The model folder.
        options: The resolved config, which is written into the folder. Files
            of data set descriptors are copied beside it, so that the folder is
            complete by itself.
        sha256: Fingerprint of the resolved config.
        allow_config_change: Whether a folder that another config made is
            accepted.

    Returns:
        The differences from the config that made the folder that matter for
        the training; empty when there are none or the folder is new.

    Raises:
        CheckpointError: The folder cannot be written, or it was made by
            another config and `allow_config_change` is false.
    """
    _make_writable(directory)
    differences = _compare(directory, options, allow_config_change)
    kept, descriptors = _plan_descriptors(directory, options)
    for name, content in descriptors.items():
        whole_files.write_text(any_files.join(directory, name), content)
    text = text_format.MessageToString(kept)
    whole_files.write_text(
        any_files.join(directory, run_config.CONFIG_FILE),
        f"# sha256 of this config: {sha256}\n{text}",
    )
    return differences


def _compare(
    folder: str,
    options: config_pb2.ExperimentOptions,
    allow_config_change: bool,
) -> list[str]:
    """Lists the differences from the folder's config; see `prepare`."""
    file = any_files.join(folder, run_config.CONFIG_FILE)
    if not any_files.exists(file):
        return []
    kept, descriptors = _plan_descriptors(folder, options)
    differences, harmless = config_changes.compare_configs(
        run_config.load_run_config(folder), kept
    )
    differences += _changed_descriptors(folder, descriptors)
    if differences and not allow_config_change:
        listed = "\n  ".join(differences)
        raise errors.CheckpointError(
            f"{folder} was made by another config:\n  {listed}\nUse another "
            f"--model_dir, the config that made it ({file}), or "
            "--allow_config_change."
        )
    return differences + harmless


def _plan_descriptors(
    folder: str, options: config_pb2.ExperimentOptions
) -> tuple[config_pb2.ExperimentOptions, dict[str, str]]:
    """Returns the config to write, and the text of each descriptor to copy.

    Descriptors of the package are not copied.
    """
    kept = config_pb2.ExperimentOptions()
    kept.CopyFrom(options)
    descriptors = {}
    for split in ("train", "eval"):
        dataset_options = getattr(kept, f"{split}_dataset_options")
        if not dataset_options.dataset.endswith(".textproto"):
            continue
        source = pathlib.Path(dataset_options.dataset)
        name = f"{split}_{source.name}"
        if source.resolve().parent == pathlib.Path(folder).resolve():
            name = source.name  # The run continues from its own config.
        descriptors[name] = source.read_text(encoding="utf-8")
        dataset_options.dataset = name
    return kept, descriptors


def _changed_descriptors(
    folder: str, descriptors: Mapping[str, str]
) -> list[str]:
    """Lists the training descriptors that differ from the folder's copies."""
    changed = []
    for name, content in descriptors.items():
        kept = any_files.join(folder, name)
        if (
            name.startswith("train_")
            and any_files.exists(kept)
            and not config_changes.has_equal_labels(
                any_files.read_text(kept), content
            )
        ):
            changed.append(
                f"train_dataset_options.dataset: {name} has another content"
            )
    return changed


def _make_writable(folder: str) -> None:
    try:
        any_files.make_folder(folder)
    except FileExistsError:
        raise errors.CheckpointError(
            f"--model_dir={folder} is a file. Give a folder."
        ) from None
    except OSError as error:
        raise errors.CheckpointError(
            f"Cannot create --model_dir={folder}: {error.strerror}."
        ) from error
    _check_writable(folder)


def _check_writable(folder: str) -> None:
    """Checks that a folder can be written, or created."""
    if any_files.is_remote(folder):
        return  # Who may write there is known when it is tried.
    existing = pathlib.Path(folder)
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise errors.CheckpointError(
            f"--model_dir={folder}: {existing} is a file. Give a folder."
        )
    if not os.access(existing, os.W_OK):
        raise errors.CheckpointError(
            f"--model_dir={folder} is not writable for this user."
        )
