# SPDX-License-Identifier: Apache-2.0
"""Writes choices as a text config, with each reason as a comment."""

import re
import textwrap
from collections.abc import Iterable, Sequence

from deeplab2_like.config import textproto
from deeplab2_like.recipes.choice import Choice, Value, Word

_WIDTH = 80
_INDENT = "  "
_INDEX = re.compile(r"\[\d+\]$")
# Fields and messages of one message, in order.
_Node = dict[str, "Choice | _Node"]

_HEAD = """\
# proto-file: deeplab2_like/protos/config.proto
# proto-message: ExperimentOptions
#
"""


def write_config(choices: Iterable[Choice], about: Sequence[str] = ()) -> str:
    """Returns the text of a config.

    Args:
        choices: The fields; a message stands where its first field does.
        about: Lines of the comment at the top.
    """
    root: _Node = {}
    for choice in choices:
        node = root
        *parents, name = choice.path.split(".")
        for parent in parents:
            inner = node.setdefault(parent, {})
            if isinstance(inner, Choice):
                raise ValueError(f"{choice.path}: {parent} has a value.")
            node = inner
        if name in node:
            raise ValueError(f"{choice.path} was chosen twice.")
        node[name] = choice
    head = _HEAD + "".join(f"# {line}".rstrip() + "\n" for line in about)
    return head + "\n" + "".join(f"{line}\n" for line in _list_lines(root, ""))


def _list_lines(node: _Node, indent: str) -> Iterable[str]:
    for key, value in node.items():
        name = _INDEX.sub("", key)
        if not isinstance(value, Choice):
            yield f"{indent}{name} {{"
            yield from _list_lines(value, indent + _INDENT)
            yield f"{indent}}}"
            continue
        if value.reason:
            yield from textwrap.wrap(
                value.reason,
                _WIDTH,
                initial_indent=f"{indent}# ",
                subsequent_indent=f"{indent}# ",
                break_long_words=False,
                break_on_hyphens=False,
            )
        yield f"{indent}{name}: {format_value(value.value)}"


def format_value(value: Value) -> str:
    """Returns a value as it stands in a text config."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Word):
        return str(value)
    if isinstance(value, str):
        return textproto.quote(value)
    if isinstance(value, list):
        return f"[{', '.join(map(format_value, value))}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
