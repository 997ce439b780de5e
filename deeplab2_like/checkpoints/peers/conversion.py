# SPDX-License-Identifier: Apache-2.0
"""Converts whole models of other libraries to a checkpoint and a config."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from deeplab2_like import config as config_lib
from deeplab2_like import errors
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.checkpoints import initialization
from deeplab2_like.checkpoints import source as checkpoint_source
from deeplab2_like.checkpoints import writing as checkpoint_writing
from deeplab2_like.checkpoints.foreign import reading
from deeplab2_like.checkpoints.peers import (
    classes,
    configs,
    mapping,
    panoptic_deeplab,
    panoptic_fpn,
    recognition,
)
from deeplab2_like.checkpoints.peers import state as state_lib
from deeplab2_like.checkpoints.peers.recognition import Peer
from deeplab2_like.config import run_config
from deeplab2_like.config.decimals import read_decimal
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.meta_architectures import build
from deeplab2_like.storage import user_paths, whole_files

_COCO_FPN = (len(classes.COCO_THINGS), 1 + len(classes.COCO_STUFF))


@dataclasses.dataclass(frozen=True)
class Options:
    """What a user may choose.

    Attributes:
        peer: A value of `Peer` that the file must be of; None: any.
        config: Config of the model; None: it follows from the file.
        overrides: Text format fragments that are merged over the config that
            follows from the file.
        overwrite: Whether files of the same names are replaced.
    """

    peer: str | None = None
    config: config_lib.Config | None = None
    overrides: Sequence[str] = ()
    overwrite: bool = False


@dataclasses.dataclass(frozen=True)
class Converted:
    """The result of a conversion.

    Attributes:
        peer: Whose model it was.
        prefix: Prefix of the checkpoint that was written.
        config_path: Path of the config that was written; "" where one was
            given.
        report: Report on each variable; all were found.
        is_order_known: Whether the order of the classes is known; else they
            were taken in the order of the file.
    """

    peer: Peer
    prefix: str
    config_path: str
    report: initialization.RestoreReport
    is_order_known: bool


def find_peer(
    path: str, config: config_lib.Config | None, wanted: str | None
) -> Peer | None:
    """Returns whose whole model a file is converted as.

    Args:
        path: Path of any checkpoint.
        config: The config that was given; None: there is none.
        wanted: A value of `Peer` that the file must be of; None: any.

    Returns:
        None where only a checkpoint of this package or of deeplab2, or an
        encoder alone can be taken: the file is of another kind, or the config
        of another system.

    Raises:
        CheckpointError: The file cannot be read, is not what is wanted, or
            needs a config.
    """
    if not user_paths.is_foreign_file(path):
        if wanted is not None:
            raise errors.CheckpointError(
                f"{path} is no file of PyTorch or detectron2 (.pth, .pkl): "
                "drop --peer."
            )
        return None
    keys = reading.read_arrays(path).values
    if config is None or wanted is not None:
        return recognition.require(path, keys, wanted)
    found = recognition.recognize(keys)
    system = config.options.model_options.WhichOneof("meta_architecture")
    return found if found is not None and found.system == system else None


def convert(source_path: str, target: str, options: Options) -> Converted:
    """Converts a whole model.

    Args:
        source_path: File of the model.
        target: Prefix to write, or a folder for `ckpt-0`. The config becomes
            `config.textproto` in the folder, or <prefix>.textproto.
        options: What the user chose.

    Raises:
        CheckpointError: The file cannot be read, is of no known model or does
            not fit the config, or something cannot be written.
        ConfigError: An override cannot be used.
    """
    checkpoint_writing.check_target(target, overwrite=options.overwrite)
    prefix = checkpoint_writing.resolve_target(target, 0)
    arrays = reading.read_arrays(source_path).values
    peer = recognition.require(source_path, arrays, options.peer)
    state = state_lib.State(source_path, arrays, peer.full_name)
    config, text, path = options.config, "", ""
    if config is None:
        path = _choose_config_path(target, prefix, options.overwrite)
        text = _write_config(state, peer, prefix)
        config = config_lib.parse(
            text, options.overrides, source=path, environ={}
        )
        if options.overrides:
            text = _head_of(text) + config.text
    report, values, is_known = _map(state, peer, config)
    checkpoint_writing.write_checkpoint(
        prefix, values, overwrite=options.overwrite
    )
    if prefix != target:
        checkpoint_files.repair_state_file(prefix.rpartition("/")[0])
    if path:
        whole_files.write_text(path, text)
    return Converted(peer, prefix, path, report, is_known)


def _map(
    state: state_lib.State, peer: Peer, config: config_lib.Config
) -> tuple[
    initialization.RestoreReport, dict[tuple[str, ...], np.ndarray], bool
]:
    """Returns report, values to write, and whether the order is known."""
    options = config.options
    system_name = options.model_options.WhichOneof("meta_architecture")
    if system_name != peer.system:
        raise errors.CheckpointError(
            f"{state.path} is {peer.full_name}, and the config {config.path} "
            f"has model_options.{system_name}: name a config with "
            f"{peer.system}, or none."
        )
    descriptor = descriptor_lib.load_of_run(options)
    system = build.build_system(options, descriptor)
    model = system.build_model(synchronize_batch_norm=False)
    solver = options.trainer_options.solver_options
    values, is_known = mapping.map_values(
        state,
        peer,
        model,
        descriptor,
        epsilon=read_decimal(solver.batchnorm_epsilon),
    )
    source = checkpoint_source.Source(
        state.path, checkpoint_source.Layout.FOREIGN, values
    )
    report = initialization.match_all(source, model)
    named: dict[tuple[str, ...], np.ndarray] = {
        (name,): np.asarray(0, np.int64)
        for name in ("global_step", "save_counter")
    }
    named |= {("variables", path): values[path] for path in report.loaded}
    return report, named, is_known


def _write_config(state: state_lib.State, peer: Peer, prefix: str) -> str:
    """Writes the config of a file's model.

    Raises:
        CheckpointError: It is for a data set that is not known here.
    """
    source = pathlib.Path(state.path).name
    checkpoint = prefix
    if not user_paths.is_remote(prefix):
        checkpoint = os.path.abspath(prefix)
    if peer is Peer.PANOPTIC_DEEPLAB:
        sizes = panoptic_deeplab.measure(state)
        dataset = classes.name_data_set(sizes.num_classes)
        if dataset is None:
            _ask_for_config(state, f"{sizes.num_classes} classes")
        return configs.write_panoptic_deeplab(
            sizes, dataset=dataset, source=source, checkpoint=checkpoint
        )
    found = panoptic_fpn.measure(state)
    if (found.num_things, found.num_channels) != _COCO_FPN:
        _ask_for_config(
            state,
            f"{found.num_things} things and {found.num_channels - 1} other "
            "classes",
        )
    return configs.write_panoptic_fpn(
        found, source=source, checkpoint=checkpoint
    )


def _ask_for_config(state: state_lib.State, what: str) -> NoReturn:
    state_lib.refuse(
        state.path,
        f"is {state.title} for {what}, which is neither COCO nor Cityscapes",
        "name a config for its data set with --config_file, whose classes are "
        "in the order of the file",
    )


def _head_of(text: str) -> str:
    """Returns the comment at the beginning of a config."""
    lines = text.splitlines(keepends=True)
    number = next(
        index for index, line in enumerate(lines) if not line.startswith("#")
    )
    return "".join(lines[:number])


def _choose_config_path(target: str, prefix: str, overwrite: bool) -> str:
    """Returns the path of the config.

    Raises:
        CheckpointError: There is one that must not be replaced.
    """
    path = f"{prefix}.textproto"
    if prefix != target and not target.endswith(".index"):
        path = f"{prefix.rpartition('/')[0]}/{run_config.CONFIG_FILE}"
    if os.path.exists(path) and not overwrite:
        raise errors.CheckpointError(
            f"The config {path} already exists: give another --to, or add "
            "--overwrite."
        )
    return path
