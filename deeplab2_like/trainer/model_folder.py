# SPDX-License-Identifier: Apache-2.0
"""The folder of a training run: its config and its lock."""

import contextlib
import datetime
import json
import os
import pathlib
import socket
from collections.abc import Iterator, Mapping

from google.protobuf import text_format

from deeplab2_like import errors
from deeplab2_like.config import report, run_config
from deeplab2_like.protos import config_pb2
from deeplab2_like.storage import whole_files

_LOCK_FILE = "training.lock"

# Fields that may change when a run continues; none affects the weights.
_FREE_FIELDS = (
    "evaluator_options",
    "eval_dataset_options",
    "trainer_options.num_checkpoints_to_keep",
    "trainer_options.save_checkpoints_steps",
    "trainer_options.save_summaries_steps",
    "trainer_options.steps_per_loop",
    "train_dataset_options.file_pattern",
    "model_options.initial_checkpoint",
)


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
        The differences from the config that made the folder; empty when there
        are none or the folder is new.

    Raises:
        CheckpointError: The folder cannot be written, or it was made by
            another config and `allow_config_change` is false.
    """
    folder = pathlib.Path(directory)
    _make_writable(folder)
    file = folder / run_config.CONFIG_FILE
    kept, descriptors = _plan_descriptors(folder, options)
    differences: list[str] = []
    if file.exists():
        differences = compare_configs(
            run_config.load_run_config(directory), kept
        )
        differences += _changed_descriptors(folder, descriptors)
        if differences and not allow_config_change:
            listed = "\n  ".join(differences)
            raise errors.CheckpointError(
                f"{directory} was made by another config:\n  {listed}\nUse "
                "another --model_dir, the config that made it "
                f"({file}), or --allow_config_change."
            )
    for name, content in descriptors.items():
        whole_files.write_text(folder / name, content)
    text = text_format.MessageToString(kept)
    whole_files.write_text(file, f"# sha256 of this config: {sha256}\n{text}")
    return differences


def _plan_descriptors(
    folder: pathlib.Path, options: config_pb2.ExperimentOptions
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
        if source.resolve().parent == folder.resolve():
            name = source.name  # The run continues from its own config.
        descriptors[name] = source.read_text(encoding="utf-8")
        dataset_options.dataset = name
    return kept, descriptors


def _changed_descriptors(
    folder: pathlib.Path, descriptors: Mapping[str, str]
) -> list[str]:
    """Lists the training descriptors that differ from the folder's copies."""
    return [
        f"train_dataset_options.dataset: {name} has another content"
        for name, content in descriptors.items()
        if name.startswith("train_")
        and (folder / name).exists()
        and (folder / name).read_text(encoding="utf-8") != content
    ]


def compare_configs(
    old: config_pb2.ExperimentOptions, new: config_pb2.ExperimentOptions
) -> list[str]:
    """Lists the fields that differ and matter for continuing a run."""
    old_values, new_values = _list_values(old), _list_values(new)
    differences = []
    for path in sorted({*old_values, *new_values}):
        if path.startswith(_FREE_FIELDS):
            continue
        before, after = old_values.get(path), new_values.get(path)
        if before != after:
            differences.append(f"{path}: was {before}, is now {after}")
    return differences


def _list_values(
    options: config_pb2.ExperimentOptions,
) -> dict[str, object]:
    """Returns the values that are set, by path."""
    return {
        path: value
        for path, _, field, value in report.iterate_fields(options)
        if field.message_type is None
    }


def _make_writable(folder: pathlib.Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise errors.CheckpointError(
            f"--model_dir={folder} is a file. Give a folder."
        ) from None
    except OSError as error:
        raise errors.CheckpointError(
            f"Cannot create --model_dir={folder}: {error.strerror}."
        ) from error
    if not os.access(folder, os.W_OK):
        raise errors.CheckpointError(
            f"--model_dir={folder} is not writable for this user."
        )


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def training_lock(directory: str) -> Iterator[None]:
    """Locks a model folder against other trainers inside a block.

    A lock that a killed process of this machine left is taken over.

    Raises:
        CheckpointError: Another trainer uses the folder.
    """
    file = pathlib.Path(directory) / _LOCK_FILE
    owner = {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "since": datetime.datetime.now().isoformat(timespec="seconds"),
    }
    while True:
        try:
            with file.open("x", encoding="utf-8") as stream:
                json.dump(owner, stream)
            break
        except FileExistsError:
            _take_over_or_refuse(file)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _take_over_or_refuse(file: pathlib.Path) -> None:
    """Deletes a lock whose process has ended; raises for others."""
    try:
        other = json.loads(file.read_text(encoding="utf-8"))
        host, process = other["host"], int(other["process"])
        since = other["since"]
    except (OSError, ValueError, KeyError):  # Half written by a killed process.
        host, process, since = socket.gethostname(), -1, "unknown"
    is_here = host == socket.gethostname()
    if is_here and (process in (-1, os.getpid()) or not _is_alive(process)):
        file.unlink(missing_ok=True)
        return
    raise errors.CheckpointError(
        f"{file.parent} is in use by a trainer on {host}, process {process}, "
        f"since {since}. Stop it, or delete {file} if it is gone."
    )
