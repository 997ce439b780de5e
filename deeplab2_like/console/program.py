# SPDX-License-Identifier: Apache-2.0
"""Runs the command-line programs of the package.

A program is a module `main.py` or `..._main.py` with its own `FlagValues`, a
function `_main` and a function `cli`, which calls `run`. `run` parses the
flags, calls `_main` and turns each `UserError` into its text on standard error
and its exit code. `--debug` shows the traceback.
"""

import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from deeplab2_like import errors
from deeplab2_like.storage import whole_files

_DEBUG = flags.DEFINE_bool(
    "debug", False, "Show the Python traceback of an error."
)


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
        except OSError as error:
            if _DEBUG.value:
                raise
            print(f"Error: {_describe_os_error(error)}", file=sys.stderr)
            sys.exit(1)
        except KeyboardInterrupt:
            print("Interrupted.", file=sys.stderr)
            sys.exit(130)

    command = list(sys.argv if argv is None else argv)
    own_flags = list(flags.FLAGS.get_flags_for_module(main.__module__))
    if flag_values is not None:
        own_flags += [flag_values[name] for name in flag_values]
        flags.FLAGS.append_flag_values(flag_values)
        flag_values.mark_as_parsed()
    _handle_help(main.__module__, own_flags, command)
    app.run(guarded, argv=command, flags_parser=_parse_flags)


def _parse_flags(command: Sequence[str]) -> list[str]:
    """Parses the command line; an unknown or wrong flag ends the program."""
    try:
        return flags.FLAGS(command)
    except flags.Error as error:
        print(f"Error: {str(error).rstrip('.')}. See --help.", file=sys.stderr)
        sys.exit(errors.ConfigError.exit_code)


def _handle_help(
    module: str, own_flags: Sequence[flags.Flag], command: Sequence[str]
) -> None:
    """Shows the program's own flags and exits when `command` asks for it."""
    for flag in [*own_flags, flags.FLAGS["debug"]]:
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    own = sys.modules["__main__"]
    own.__doc__ = own.__doc__ or sys.modules[module].__doc__
    if {"--help", "-help", "-h"} & set(command[1:]):
        app.usage(shorthelp=True, writeto_stdout=True)
        sys.exit(0)
