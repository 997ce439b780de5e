# SPDX-License-Identifier: Apache-2.0
"""The frame of all pages: HTML text with everything inside of it.

Styles, script and pictures are parts of the text, and a content security policy
keeps browsers from loading anything else. All texts are escaped by Jinja2.
"""

from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from deeplab2_like.reports import tables

_FILES = "deeplab2_like.reports"


def render(template: str, **values: Any) -> str:
    """Returns a page as HTML text.

    Args:
        template: A file of this package that extends frame.html.
        **values: What the template shows; `report` has `data`, the numbers of
            metrics.json, and `facts` are pairs of texts for the head.
    """
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read_file),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["tables"] = tables
    return environment.get_template(template).render(
        css=Markup(_read_file("page.css")),
        script=Markup(_read_file("page.js")),
        **values,
    )


def _read_file(name: str) -> str:
    file = resources.files(_FILES) / name
    return file.read_text(encoding="utf-8")
