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
from deeplab2_like.config import run_config
from deeplab2_like.protos import config_pb2
from deeplab2_like.storage import json_files, whole_files
from deeplab2_like.trainer import config_changes

_LOCK_FILE = "training.lock"


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
    folder = pathlib.Path(directory)
    _check_writable(folder)
    if folder.exists():
        _compare(folder, options, allow_config_change)
        _refuse_other_trainer(folder / _LOCK_FILE)


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
    folder = pathlib.Path(directory)
    _make_writable(folder)
    differences = _compare(folder, options, allow_config_change)
    kept, descriptors = _plan_descriptors(folder, options)
    for name, content in descriptors.items():
        whole_files.write_text(folder / name, content)
    text = text_format.MessageToString(kept)
    whole_files.write_text(
        folder / run_config.CONFIG_FILE,
        f"# sha256 of this config: {sha256}\n{text}",
    )
    return differences


def _compare(
    folder: pathlib.Path,
    options: config_pb2.ExperimentOptions,
    allow_config_change: bool,
) -> list[str]:
    """Lists the differences from the folder's config; see `prepare`."""
    file = folder / run_config.CONFIG_FILE
    if not file.exists():
        return []
    kept, descriptors = _plan_descriptors(folder, options)
    differences, harmless = config_changes.compare_configs(
        run_config.load_run_config(str(folder)), kept
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
        and not config_changes.has_equal_labels(
            (folder / name).read_text(encoding="utf-8"), content
        )
    ]


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
    _check_writable(folder)


def _check_writable(folder: pathlib.Path) -> None:
    """Checks that a folder can be written, or created."""
    existing = folder
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
                stream.write(json_files.to_line(owner))
            break
        except FileExistsError:
            _refuse_other_trainer(file)
            file.unlink(missing_ok=True)  # Its process has ended.
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def unlock(directory: str) -> None:
    """Deletes the lock of this process, if it has one."""
    file = pathlib.Path(directory) / _LOCK_FILE
    with contextlib.suppress(OSError, ValueError, KeyError):
        owner = json.loads(file.read_text(encoding="utf-8"))
        is_own = owner["host"] == socket.gethostname()
        if is_own and int(owner["process"]) == os.getpid():
            file.unlink()


def _refuse_other_trainer(file: pathlib.Path) -> None:
    """Raises if the process of a lock may be alive."""
    if not file.exists():
        return
    try:
        other = json.loads(file.read_text(encoding="utf-8"))
        host, process = other["host"], int(other["process"])
        since = other["since"]
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
    ):  # Half written by a killed process.
        host, process, since = socket.gethostname(), -1, "unknown"
    is_here = host == socket.gethostname()
    if is_here and (process in (-1, os.getpid()) or not _is_alive(process)):
        return
    raise errors.CheckpointError(
        f"{file.parent} is in use by a trainer on {host}, process {process}, "
        f"since {since}. Stop it, or delete {file} if it is gone."
    )
