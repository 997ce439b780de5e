# SPDX-License-Identifier: Apache-2.0
"""Checks configs and explains their fields, without TensorFlow.

    deeplab2-check-config FILE...

prints "ok" or the problems of each file and exits with 0, or with 2 if a file
cannot be used. A FILE is a textproto file of a config or of a data set
descriptor, or the name of a shipped config.
"""

import re
import sys
from collections.abc import Sequence

from absl import flags

from deeplab2_like import errors
from deeplab2_like.config import (
    explain,
    loader,
    paths,
    problems,
    validation,
)
from deeplab2_like.console import program

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_CONFIG_OVERRIDE = flags.DEFINE_multi_string(
    "config_override",
    [],
    "Text merged over each config, for example 'trainer_options { seed: 1 }'; "
    "lists replace",
    flag_values=_FLAGS,
)
_EXPLAIN = flags.DEFINE_string(
    "explain",
    None,
    "Describe a field, for example evaluator_options.nms_kernel or "
    "nms_kernel; '' lists the top-level fields.",
    flag_values=_FLAGS,
)
_PRINT_RESOLVED = flags.DEFINE_bool(
    "print_resolved",
    False,
    "Print each config as the programs see it.",
    flag_values=_FLAGS,
)
_LIST = flags.DEFINE_bool(
    "list",
    False,
    "Print the names of the shipped configs and data sets.",
    flag_values=_FLAGS,
)

_DESCRIPTOR_HEADER = re.compile(
    r"^# *proto-message: *(deeplab2_like\.)?DatasetDescriptor\s*$", re.MULTILINE
)


def check_file(
    name: str, overrides: Sequence[str] = (), print_resolved: bool = False
) -> bool:
    """Checks one file and prints the result.

    Args:
        name: Path or name of a config or of a data set descriptor.
        overrides: As in `config.load`; not for descriptors.
        print_resolved: Whether a valid config is printed in full.

    Returns:
        Whether the file can be used.
    """
    try:
        path = paths.find_config(name)
        if _DESCRIPTOR_HEADER.search(paths.read_text(path)):
            descriptor = loader.read_dataset(path)
            for warning in validation.list_dataset_warnings(
                descriptor, str(path)
            ):
                print(warning)
            print(f"{name}: ok")
            return True
        config = loader.load(path, overrides)
    except problems.InvalidConfigError as error:
        count = len(error.problems)
        print(error)
        print(f"{name}: {count} problem{'s' if count > 1 else ''}")
        return False
    if print_resolved:
        print(f"# {name}, sha256 {config.sha256}")
        print(config.text, end="")
    output = sys.stderr if print_resolved else sys.stdout
    for warning in config.warnings:
        if warning.severity == problems.WARNING:
            print(warning, file=output)
    print(f"{name}: ok{_describe_unfilled(config)}", file=output)
    return True


def _describe_unfilled(config: loader.Config) -> str:
    names = dict.fromkeys(
        n for names in config.unfilled.values() for n in names
    )
    if not names:
        return ""
    return f" (to be set in the environment: {', '.join(names)})"


def _main(arguments: Sequence[str]) -> None:
    if _EXPLAIN.value is not None:
        print(explain.explain(_EXPLAIN.value))
    if _LIST.value:
        print("configs:", *paths.list_configs(), sep="\n  ")
        print("data sets:", *paths.list_datasets(), sep="\n  ")
    if not arguments and _EXPLAIN.value is None and not _LIST.value:
        raise errors.ConfigError(
            "No file is given: name at least one FILE, or --explain, or "
            "--list. Usage: deeplab2-check-config FILE..."
        )
    results = [
        check_file(name, _CONFIG_OVERRIDE.value, _PRINT_RESOLVED.value)
        for name in arguments
    ]
    if not all(results):
        raise errors.ConfigError(
            f"{results.count(False)} of {len(results)} files cannot be used."
        )


def cli() -> None:
    """Checks configs (console command deeplab2-check-config)."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
