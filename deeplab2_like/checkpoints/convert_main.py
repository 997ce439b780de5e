# SPDX-License-Identifier: Apache-2.0
r"""Converts checkpoints between this package's layout and deeplab2's.

    deeplab2-convert-checkpoint --from=CHECKPOINT --to=FOLDER_OR_PREFIX \
        --config_file=CONFIG [--to_layout=deeplab2]

Reads a checkpoint of this package, of deeplab2, or of an encoder alone (Model
Garden, keras.applications), compares it with the model of the config and
prints what became of each variable. Optimizers are not converted; where a
checkpoint of this package has averaged weights, these are taken.
"""

from collections.abc import Sequence

from absl import flags

from deeplab2_like import config as config_lib
from deeplab2_like.checkpoints import presence
from deeplab2_like.console import native_logs, path_flags, program, progress

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_FROM = path_flags.define(
    "from",
    None,
    "Checkpoint to read: a folder, a prefix such as run/ckpt-1000, one of its "
    "files, or a weights file of keras.applications (.h5, .keras). Required.",
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
    "Config of the model, a file or a shipped one's name. Required.",
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
    program.require(
        _CONFIG_FILE,
        "the config of the model",
        "cityscapes/panoptic_deeplab/mobilenet_v3_small_os32",
    )


def _main(arguments: Sequence[str]) -> None:
    _check_flags(arguments)
    config = config_lib.load(_CONFIG_FILE.value, _CONFIG_OVERRIDE.value)
    # Nothing that takes long is imported before the user's input is checked.
    presence.require(str(_FROM.value), "--from=")
    native_logs.load_tensorflow()
    report = progress.Progress()
    with native_logs.hide_routine():
        from deeplab2_like.checkpoints import conversion

        done = conversion.convert(
            config,
            _FROM.value,
            _TO.value,
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


def cli() -> None:
    """Converts a checkpoint (command deeplab2-convert-checkpoint)."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
