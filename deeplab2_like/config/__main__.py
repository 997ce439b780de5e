# SPDX-License-Identifier: Apache-2.0
"""Checks configs and explains fields, without TensorFlow.

    python -m deeplab2_like.config FILE...

prints "ok" or the problems of each, and exits with 0 or 2.
"""

import argparse
import re
import sys
from collections.abc import Sequence

from deeplab2_like.config import explain, loader, paths, problems

_EXIT_OK = 0
_DESCRIPTOR_HEADER = re.compile(
    r"^# *proto-message: *(deeplab2_like\.)?DatasetDescriptor\s*$", re.MULTILINE
)


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deeplab2_like.config",
        description="Checks configs and data set descriptors.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="a textproto file, or the name of a shipped config",
    )
    parser.add_argument(
        "--config_override",
        action="append",
        default=[],
        metavar="TEXT",
        help="text merged over each config, e.g. 'trainer_options { seed: 1 }';"
        " lists replace; may be repeated",
    )
    parser.add_argument(
        "--explain",
        metavar="FIELD",
        help="tell what a field means, e.g. evaluator_options.nms_kernel or "
        "nms_kernel; '' lists the top",
    )
    parser.add_argument(
        "--print_resolved",
        action="store_true",
        help="print each config as the programs see it",
    )
    parser.add_argument(
        "--list",
        action="store_true",
        help="print the names of the shipped configs and data sets",
    )
    return parser


def check_file(
    name: str, overrides: Sequence[str] = (), print_resolved: bool = False
) -> bool:
    """Checks one file and prints what was found.

    Args:
        name: Path or name of a config or of a data set descriptor.
        overrides: As in `config.load`; not for descriptors.
        print_resolved: Whether a valid config is printed in full.

    Returns:
        Whether it can be used.
    """
    try:
        path = paths.find_config(name)
        if _DESCRIPTOR_HEADER.search(paths.read_text(path)):
            loader.read_dataset(path)
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


def main(arguments: Sequence[str]) -> int:
    """Runs the program.

    Args:
        arguments: The command line without the name of the program.

    Returns:
        The exit code: 0, or 2 when a file cannot be used.
    """
    parser = _make_parser()
    options = parser.parse_args(arguments)
    if options.explain is not None:
        try:
            print(explain.explain(options.explain))
        except problems.InvalidConfigError as error:
            print(error, file=sys.stderr)
            return error.exit_code
    if options.list:
        print("configs:", *paths.list_configs(), sep="\n  ")
        print("data sets:", *paths.list_datasets(), sep="\n  ")
    if not options.files and options.explain is None and not options.list:
        parser.error("name at least one FILE, or --explain, or --list")
    results = [
        check_file(name, options.config_override, options.print_resolved)
        for name in options.files
    ]
    return _EXIT_OK if all(results) else problems.InvalidConfigError.exit_code


def cli() -> None:
    """Runs the program on the command line of the process and exits."""
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    cli()
