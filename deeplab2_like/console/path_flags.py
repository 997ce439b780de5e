# SPDX-License-Identifier: Apache-2.0
"""Flags whose values are paths: `~` is replaced, unusable ones are refused."""

from collections.abc import Sequence

from absl import flags

from deeplab2_like.storage import user_paths

# Flags belong to the modules that call this one.
flags.disclaim_key_flags()


class _PathParser(flags.ArgumentParser):
    """A parser of one path."""

    def __init__(self, name: str, holds_checkpoint: bool):
        """Creates the parser.

        Args:
            name: Name of the flag.
            holds_checkpoint: See `define`.
        """
        self._what = f"--{name}="
        self._holds_checkpoint = holds_checkpoint

    def parse(self, argument: str) -> str:
        """Returns the path.

        Raises:
            ConfigError: It cannot be used, see `user_paths`.
        """
        if self._holds_checkpoint:
            return user_paths.expand_checkpoint(argument, self._what)
        return user_paths.expand(argument, self._what)

    def flag_type(self) -> str:
        """Returns the type that the help shows."""
        return "path"


class _PathListParser(flags.ListParser):
    """A parser of paths with commas between them."""

    def __init__(self, name: str):
        """Creates the parser.

        Args:
            name: Name of the flag.
        """
        super().__init__()
        self._what = f"--{name}="

    def parse(self, argument: str | Sequence[str]) -> list[str]:
        """Returns the paths.

        Raises:
            ConfigError: One of them cannot be used, see `user_paths`.
        """
        paths = super().parse(argument)
        return [user_paths.expand(path, self._what) for path in paths]

    def flag_type(self) -> str:
        """Returns the type that the help shows."""
        return "comma separated list of paths"


def define(
    name: str,
    default: str | None,
    help: str,
    *,
    flag_values: flags.FlagValues = flags.FLAGS,
    holds_checkpoint: bool = False,
) -> flags.FlagHolder[str | None]:
    """Defines a flag whose value is a path.

    Args:
        name: Name of the flag.
        default: Default value.
        help: Description of the flag.
        flag_values: Flags of the program.
        holds_checkpoint: Whether TensorFlow looks for a checkpoint or
            SavedModel under the path.
    """
    parser = _PathParser(name, holds_checkpoint)
    return flags.DEFINE(
        parser,
        name,
        default,
        help,
        flag_values,
        serializer=flags.ArgumentSerializer(),
    )


def define_multi(
    name: str,
    help: str,
    *,
    flag_values: flags.FlagValues = flags.FLAGS,
) -> flags.FlagHolder[list[str]]:
    """Defines a flag for a path that may be given several times.

    Args:
        name: Name of the flag.
        help: Description of the flag.
        flag_values: Flags of the program.
    """
    parser = _PathParser(name, holds_checkpoint=False)
    return flags.DEFINE_multi(
        parser,
        flags.ArgumentSerializer(),
        name,
        [],
        help,
        flag_values=flag_values,
    )


def define_list(
    name: str,
    help: str,
    *,
    flag_values: flags.FlagValues = flags.FLAGS,
) -> flags.FlagHolder[list[str]]:
    """Defines a flag for paths with commas between them.

    Args:
        name: Name of the flag.
        help: Description of the flag.
        flag_values: Flags of the program.
    """
    return flags.DEFINE(
        _PathListParser(name),
        name,
        [],
        help,
        flag_values,
        serializer=flags.CsvListSerializer(","),
    )
