# SPDX-License-Identifier: Apache-2.0
r"""Converts checkpoints between this package's layout and others.

    deeplab2-convert-checkpoint --from=CHECKPOINT --to=FOLDER_OR_PREFIX \
        --config_file=CONFIG [--to_layout=deeplab2]
    deeplab2-convert-checkpoint --from=model_final.pkl --to=FOLDER_OR_PREFIX

Reads a checkpoint of this package, of deeplab2, or of an encoder alone (Model
Garden, keras.applications), compares it with the model of the config and
prints what became of each variable. Optimizers are not converted; where a
checkpoint of this package has averaged weights, these are taken.

Whole models of detectron2 (Panoptic FPN) and of bowenc0221/panoptic-deeplab
need no config: a checkpoint and its config are written, with which it can be
evaluated, exported and trained further.
"""

from collections.abc import Sequence

from absl import flags

from deeplab2_like import config as config_lib
from deeplab2_like import errors
from deeplab2_like.checkpoints import presence
from deeplab2_like.console import native_logs, path_flags, program, progress
from deeplab2_like.storage import user_paths

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_FROM = path_flags.define(
    "from",
    None,
    "Checkpoint to read: a folder, a prefix such as run/ckpt-1000, one of its "
    "files, or a weights file of keras.applications (.h5, .keras), PyTorch or "
    "detectron2 (.pth, .pkl). Required.",
    flag_values=_FLAGS,
    holds_checkpoint=True,
)
_TO = path_flags.define(
    "to",
    None,
    "Checkpoint to write: a prefix such as converted/ckpt-1000; or a folder "
    "(one that exists, or a name that ends with /), for ckpt-<step> in it. "
    "Required.",
    flag_values=_FLAGS,
    holds_checkpoint=True,
)
_CONFIG_FILE = path_flags.define(
    "config_file",
    None,
    "Config of the model, a file or a shipped one's name. Required, but for "
    "whole models of other libraries.",
    flag_values=_FLAGS,
)
_CONFIG_OVERRIDE = flags.DEFINE_multi_string(
    "config_override",
    [],
    "Text format fragment that is merged over the config. May be given "
    "several times.",
    flag_values=_FLAGS,
)
_TO_LAYOUT = flags.DEFINE_enum(
    "to_layout",
    "deeplab2_like",
    config_lib.names.CHECKPOINT_LAYOUTS,
    "Layout to write: this package's, or deeplab2's.",
    flag_values=_FLAGS,
)
_PEER = flags.DEFINE_enum(
    "peer",
    None,
    config_lib.names.PEERS,
    "Whose whole model the file must be. Default: as its keys say.",
    flag_values=_FLAGS,
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite",
    False,
    "Replace a checkpoint of the same name.",
    flag_values=_FLAGS,
)


def _check_flags(arguments: Sequence[str]) -> None:
    program.refuse_arguments(arguments)
    program.require(_FROM, "a checkpoint", "downloaded/ckpt-60000")
    program.require(_TO, "a prefix", "converted/ckpt-60000")
    if not user_paths.is_foreign_file(str(_FROM.value)):
        program.require(
            _CONFIG_FILE,
            "the config of the model",
            "cityscapes/panoptic_deeplab/mobilenet_v3_small_os32",
        )


def _main(arguments: Sequence[str]) -> None:
    _check_flags(arguments)
    config = None
    if _CONFIG_FILE.value:
        config = config_lib.load(_CONFIG_FILE.value, _CONFIG_OVERRIDE.value)
    # Nothing that takes long is imported before the user's input is checked.
    presence.require(str(_FROM.value), "--from=")
    native_logs.load_tensorflow()
    with native_logs.hide_routine():
        from deeplab2_like.checkpoints.peers import conversion

        peer = conversion.find_peer(str(_FROM.value), config, _PEER.value)
        if peer is not None:
            _convert_peer(config)
        elif config is not None:
            _convert_checkpoint(config)


def _convert_checkpoint(config: config_lib.Config) -> None:
    """Converts a checkpoint of this package, of deeplab2 or of an encoder."""
    from deeplab2_like.checkpoints import conversion

    report = progress.Progress()
    done = conversion.convert(
        config,
        str(_FROM.value),
        str(_TO.value),
        layout=_TO_LAYOUT.value,
        overwrite=_OVERWRITE.value,
    )
    report.console.print(done.table())
    if done.report.bookkeeping:
        report.log(
            f"Not converted: {len(done.report.bookkeeping)} values of "
            "optimizers, averages and counters."
        )
    report.log(f"Wrote {done.prefix} (step {done.step}) in the layout of")
    report.log(f"{_TO_LAYOUT.value}, read back and compared.")


def _convert_peer(config: config_lib.Config | None) -> None:
    """Converts a whole model of another library."""
    from deeplab2_like.checkpoints.peers import conversion

    if _TO_LAYOUT.value != config_lib.names.CHECKPOINT_LAYOUTS[0]:
        raise errors.ConfigError(
            f"--to_layout={_TO_LAYOUT.value} is not written from a file of "
            "another library. Convert it without, and then the checkpoint that "
            "this gives."
        )
    report = progress.Progress()
    done = conversion.convert(
        str(_FROM.value),
        str(_TO.value),
        conversion.Options(
            _PEER.value,
            config,
            () if config else _CONFIG_OVERRIDE.value,
            _OVERWRITE.value,
        ),
    )
    report.console.print(done.report.table("Converted from"))
    if not done.is_order_known:
        report.log("The classes were taken in the order of the file.")
    report.log(f"Wrote {done.prefix}, {done.peer.full_name}, read back and")
    report.log("compared.")
    if done.config_path:
        report.log(f"Wrote its config {done.config_path}.")


def cli() -> None:
    """Converts a checkpoint (command deeplab2-convert-checkpoint)."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
