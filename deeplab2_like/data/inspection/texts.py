# SPDX-License-Identifier: Apache-2.0
"""Makes texts from files writable: names may have bytes that are no text."""


def make_writable(text: str) -> str:
    r"""Returns a text that can be written in UTF-8 in one line.

    Args:
        text: Any text; bytes of a file name that are no UTF-8, and line ends,
            become escapes such as \\udcff and \\n.
    """
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode()
        for one in text
    )
