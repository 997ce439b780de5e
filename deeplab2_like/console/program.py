# SPDX-License-Identifier: Apache-2.0
"""Runs the command-line programs of the package.

A program is a module `main.py` or `..._main.py` with its own `FlagValues`, a
function `_main` and a function `cli`, which calls `run`. `run` parses the
flags, calls `_main` and turns each `UserError` into its text on standard error
and its exit code. `--debug` shows the traceback, `--version` the versions.
"""

import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from absl import app, flags, logging

from deeplab2_like import errors
from deeplab2_like.console import streams, usage, version
from deeplab2_like.storage import whole_files

_DEBUG = flags.DEFINE_bool(
    "debug", False, "Show the Python traceback of an error."
)
flags.DEFINE_bool("version", False, "Print the versions in use and exit.")
_COMMON_FLAGS = ("debug", "version")
_HELP_FLAGS = {"--help", "-help", "-h", "--helpshort", "-?"}


def _describe_os_error(error: OSError) -> str:
    where = f" while using {error.filename}" if error.filename else ""
    if whole_files.is_disk_full(error):
        return f"No space left on the device{where}. Free some and run again."
    return f"{error.strerror or error}{where}."


def require(flag: flags.FlagHolder[str | None], what: str, example: str) -> str:
    """Returns the value of a required flag.

    Args:
        flag: The flag.
        what: Description of the value, such as "the folder to write".
        example: Example of a value.

    Raises:
        ConfigError: The flag was not given, or is empty.
    """
    if not flag.value:
        raise errors.ConfigError(
            f"--{flag.name} is missing. Give {what}, for example "
            f"--{flag.name}={example}."
        )
    return flag.value


def refuse_arguments(arguments: Sequence[str]) -> None:
    """Checks that a program that takes flags only got no other arguments.

    Raises:
        ConfigError: There are arguments.
    """
    if arguments:
        raise errors.ConfigError(
            f"Unexpected argument {arguments[0]!r}: everything is given by "
            "flags, see --help."
        )


def run(
    main: Callable[[Sequence[str]], None],
    flag_values: flags.FlagValues | None = None,
    argv: Sequence[str] | None = None,
) -> None:
    """Runs a program and exits.

    Args:
        main: Function that is called with the arguments that are not flags,
            without the name of the program. `--help` shows the docstring of
            its module and the flags that are defined there.
        flag_values: Flags of the program that are not among absl's global
            ones, so that modules of several programs can be imported together.
        argv: Command line; that of the process when None.

    Raises:
        SystemExit: Always. Code 0 after success, the `exit_code` of a
            `UserError`, 1 for a failure of the operating system, 130 after an
            interrupt.
    """

    def guarded(arguments: Sequence[str]) -> None:
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)
        try:
            main(arguments[1:])
        except errors.UserError as error:
            if _DEBUG.value:
                raise
            print(f"Error: {error}", file=sys.stderr)
            sys.exit(error.exit_code)
        except BrokenPipeError:
            _end_without_reader()
        except OSError as error:
            if _DEBUG.value:
                raise
            print(f"Error: {_describe_os_error(error)}", file=sys.stderr)
            sys.exit(1)
        except KeyboardInterrupt:
            print("Interrupted.", file=sys.stderr)
            sys.exit(130)

    streams.open_missing()
    command = list(sys.argv if argv is None else argv)
    # absl knows the main module by the name of its file, too.
    own_flags = {
        flag.name: flag
        for module in (main.__module__, sys.argv[0])
        for flag in flags.FLAGS.get_key_flags_for_module(module)
    }
    if flag_values is not None:
        own_flags |= {name: flag_values[name] for name in flag_values}
        flags.FLAGS.append_flag_values(flag_values)
        flag_values.mark_as_parsed()
    try:
        _answer_questions(main.__module__, own_flags, command)
        sys.stdout.flush()
    except BrokenPipeError:
        _end_without_reader()
    app.run(guarded, argv=command, flags_parser=_parse_flags)


def _end_without_reader() -> NoReturn:
    """Exits where nobody reads the output any more, as in `... | head`."""
    # Python would complain when it flushes the output at the end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)


def _parse_flags(command: Sequence[str]) -> list[str]:
    """Parses the command line; an unknown or wrong flag ends the program."""
    try:
        arguments = flags.FLAGS(command)
        _refuse_nan()
        return arguments
    except flags.Error as error:
        text = usage.describe_error(error, flags.FLAGS)
        if isinstance(error.__context__, errors.UserError):
            text = str(error.__context__)
        print(f"Error: {text}", file=sys.stderr)
        sys.exit(errors.ConfigError.exit_code)


def _refuse_nan() -> None:
    """Refuses flags that are no number, which pass all bounds."""
    for name in flags.FLAGS:
        value = flags.FLAGS[name].value
        if isinstance(value, float) and math.isnan(value):
            raise flags.IllegalFlagValueError(
                f"--{name}={value} is no number. Give one."
            )


def _answer_questions(
    module: str, own_flags: Mapping[str, flags.Flag], command: Sequence[str]
) -> None:
    """Prints the help or the versions and exits when `command` asks for it."""
    asked = set(command[1:])
    if "--" in asked:
        asked = set(command[1 : command.index("--", 1)])
    if _HELP_FLAGS & asked:
        text = sys.modules[module].__doc__ or ""
        shown = {**own_flags, **{n: flags.FLAGS[n] for n in _COMMON_FLAGS}}
        print(usage.describe_program(text, shown.values()), flush=True)
        sys.exit(0)
    if {"--version", "-version"} & asked:
        print(version.describe())
        sys.exit(0)
