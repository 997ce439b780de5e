# SPDX-License-Identifier: Apache-2.0
"""Paths as users write them: `~`, and characters that are read as a pattern.

In reading order: paths of any files (`expand`), paths that TensorFlow stores
checkpoints and SavedModels under (`expand_checkpoint`), and patterns of files
(`escape_pattern`, `find_files`).
"""

import glob
import os
import re
import unicodedata
from collections.abc import Iterator

from deeplab2_like import errors

_KERAS_ENDINGS = (".h5", ".hdf5", ".keras")
_FOREIGN_ENDINGS = (".pth", ".pt", ".bin", ".pkl", ".safetensors")
_PATTERN_CHARACTERS = "*?[\\"
_REMOTE = "://"


def expand(path: str | os.PathLike[str], what: str = "The path ") -> str:
    """Returns a path with `~` and `~user` replaced by the home folder.

    Args:
        path: A path, or a pattern of paths. Addresses such as gs://... are
            returned as they are.
        what: Beginning of the message, for example "--out=".

    Raises:
        ConfigError: The user of `~user` does not exist, or the path contains
            control characters or what is no UTF-8.
    """
    text = os.fspath(path)
    problem = find_problem(text)
    if problem:
        raise errors.ConfigError(f"{what}{text!r} {problem}")
    return os.path.expanduser(text)


def expand_checkpoint(
    path: str | os.PathLike[str], what: str = "The path "
) -> str:
    """Returns the path of a checkpoint, run or SavedModel; see `expand`.

    Args:
        path: The path.
        what: Beginning of the message, for example "--model_dir=".

    Raises:
        ConfigError: See `expand`; or TensorFlow would read the path as a
            pattern.
    """
    text = expand(path, what)
    problem = find_checkpoint_problem(text)
    if problem:
        raise errors.ConfigError(f"{what}{text!r} {problem}")
    return text


def find_problem(path: str) -> str:
    """Returns what `expand` refuses in a path, as the end of a sentence."""
    for character in path:
        kind = unicodedata.category(character)
        if kind == "Cs":  # How Python shows bytes that are no UTF-8.
            return "is not UTF-8. Rename the file or folder."
        if kind == "Cc" and character != "\t":
            return (
                f"contains the control character {character!r}. Use a name "
                "without it."
            )
    if path.startswith("~") and os.path.expanduser(path) == path:
        home = path.split("/")[0]
        if home != "~" and os.path.lexists(path):
            return ""  # A file of that name, such as ~$letter.docx.
        return (
            f"begins with {home}, and there is no user of that name whose home "
            f"folder it could be. Write ./{path} for a path of that name."
        )
    return ""


def find_checkpoint_problem(path: str) -> str:
    """Returns why TensorFlow cannot find a checkpoint, as a sentence's end.

    Its readers take the path of a checkpoint as a pattern, which cannot be
    escaped; its `CheckpointManager` deletes what the pattern matches.
    """
    if is_remote(path) or is_keras_file(path) or is_foreign_file(path):
        return ""
    for character in path:
        if character in _PATTERN_CHARACTERS:
            return (
                f"contains {character!r}: TensorFlow reads * ? [ and \\ in the "
                "path of a checkpoint or SavedModel as a pattern, so that it "
                "would not be found again. Use a name without them, or a link "
                "to the folder."
            )
    return ""


def escape_pattern(path: str | os.PathLike[str]) -> str:
    r"""Returns the pattern that matches one path only: [ becomes [[].

    Args:
        path: A path.
    """
    escaped = {"[": "[[]", "*": "[*]", "?": "[?]", "\\": "\\\\"}
    text = os.fspath(path)
    return "".join(escaped.get(character, character) for character in text)


def is_keras_file(path: str) -> bool:
    """Returns whether a path is that of a Keras weights or model file.

    TensorFlow's reader of checkpoints does not read these.
    """
    return path.lower().endswith(_KERAS_ENDINGS)


def is_foreign_file(path: str) -> bool:
    """Returns whether a path is that of weights of PyTorch or detectron2."""
    return path.lower().endswith(_FOREIGN_ENDINGS)


def is_remote(path: str) -> bool:
    """Returns whether a path is an address such as gs://bucket/folder."""
    return _REMOTE in path


def find_files(pattern: str) -> list[str]:
    r"""Finds the local paths that match a pattern, as TensorFlow's glob does.

    `*` matches any text of a name, `?` one character, `[ab]` and `[!ab]` one of
    a set, and `\` takes the meaning from the character behind it. A folder that
    exists under its name, such as `records [v1]`, need not be escaped.

    Args:
        pattern: The pattern; `~` was replaced by `expand`.

    Returns:
        The paths, sorted.

    Raises:
        DataError: A folder exists under the name in the pattern, and other
            paths match it as a pattern.
    """
    matched = set(_glob(pattern))
    literal = _escape_existing(pattern)
    named = set(_glob(literal)) - matched
    if named and matched:
        raise errors.DataError(
            f"File pattern {pattern!r} matches {min(named)!r} by its name and "
            f"{min(matched)!r} as a pattern. Write {literal!r} for the first, "
            "or rename one of them."
        )
    return sorted(matched | named)


def _glob(pattern: str) -> Iterator[str]:
    # Python's patterns have no escapes, and no ^ for "none of".
    translated = re.sub(
        r"\\(.)|\[\^(?=.[^/]*\])",
        lambda match: glob.escape(match[1]) if match[1] else "[!",
        pattern,
    )
    return glob.iglob(translated, include_hidden=True)


def _escape_existing(pattern: str) -> str:
    """Escapes the longest beginning of a pattern that exists as a path."""
    parts = pattern.split("/")
    for count in range(len(parts), 0, -1):
        beginning = "/".join(parts[:count])
        if beginning and os.path.lexists(beginning):
            return "/".join([escape_pattern(beginning), *parts[count:]])
    return pattern
