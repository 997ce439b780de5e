# SPDX-License-Identifier: Apache-2.0
"""Texts about flags: the help of a program, and what is wrong with a flag."""

import difflib
import re
import textwrap
from collections.abc import Iterable

from absl import flags

SEE_HELP = "See --help."
_WIDTH = 80
# How absl shows a flag that was defined without a text. Such flags are kept for
# old command lines and are not shown.
_NO_TEXT = "(no help available)"
# What absl adds to the texts.
_ADDED = re.compile(
    r"^<[^>]*>: |; repeat this option to specify a list of values$"
)
_VALUES = {
    "int": "INTEGER",
    "float": "NUMBER",
    "path": "PATH",
    "string": "TEXT",
    "comma separated list of strings": "TEXT,...",
    "comma separated list of paths": "PATH,...",
}


def describe_program(text: str, own_flags: Iterable[flags.Flag]) -> str:
    """Returns the help of a program.

    Args:
        text: What the program does, and how it is called.
        own_flags: Flags of the program.
    """
    lines = [text.strip(), "", "Flags:", ""]
    for flag in sorted(own_flags, key=lambda flag: flag.name):
        if flag.help == _NO_TEXT:
            continue
        help_text = _ADDED.sub("", " ".join(flag.help.split()))
        if not help_text.endswith("."):
            help_text += "."
        repeated = ""
        if isinstance(flag, flags.MultiFlag) and "several" not in help_text:
            repeated = " May be given several times."
        lines.append(f"  {_describe_form(flag)}")
        lines += textwrap.wrap(
            f"{help_text}{repeated} (default: {_describe_default(flag)})",
            _WIDTH,
            initial_indent=" " * 6,
            subsequent_indent=" " * 6,
            break_on_hyphens=False,
            break_long_words=False,
        )
    return "\n".join(lines)


def _describe_form(flag: flags.Flag) -> str:
    """Returns how a flag is written, for example --num_gpus=INTEGER."""
    if flag.boolean:
        return f"--[no]{flag.name}"
    return f"--{flag.name}={_describe_values(flag)}"


def _describe_values(flag: flags.Flag) -> str:
    values = getattr(flag.parser, "enum_values", None)
    if values:
        return "|".join(values)
    return _VALUES.get(flag.parser.flag_type(), "TEXT")


def _describe_default(flag: flags.Flag) -> str:
    default = flag.default
    if default is None or default == []:
        return "none"
    if flag.boolean:
        return str(default).lower()
    if isinstance(default, list):
        return ",".join(map(str, default))
    return str(default) or "empty"


def describe_error(error: flags.Error, known: flags.FlagValues) -> str:
    """Returns a sentence about a flag that cannot be used.

    Args:
        error: The error of absl.
        known: The flags of the program.
    """
    if isinstance(error, flags.UnrecognizedFlagError):
        near = difflib.get_close_matches(
            error.flagname, list(known), cutoff=0.7
        )
        hint = f" Did you mean {' or '.join(f'--{n}' for n in near)}?"
        return (
            f"Unknown command line flag {error.flagname!r}."
            f"{hint * bool(near)} {SEE_HELP}"
        )
    text = str(error)
    missing = re.fullmatch(r"Missing value for flag --(\w+)", text)
    if missing and missing[1] in known:
        form = _describe_form(known[missing[1]])
        return f"--{missing[1]} has no value: write {form}. {SEE_HELP}"
    wrong = re.match(r"flag --(\w+)=", text)
    cause = error.__context__
    if wrong and wrong[1] in known and cause is not None:
        value = text.removeprefix(wrong[0]).removesuffix(f": {cause}")
        allowed = _describe_allowed(known[wrong[1]])
        if allowed:
            return f"--{wrong[1]}={value} is not {allowed}. {SEE_HELP}"
    return f"{text.rstrip('.')}. {SEE_HELP}"


def _describe_allowed(flag: flags.Flag) -> str:
    """Returns what a flag takes; "" when its parser describes errors itself."""
    values = getattr(flag.parser, "enum_values", None)
    if values:
        return f"one of {', '.join(values)}"
    if flag.boolean:
        return "true or false"
    return str(flag.parser.syntactic_help)
