# SPDX-License-Identifier: Apache-2.0
"""The snippets of docs/python.md run, one after the other."""

import pathlib
import re

import pytest

import deeplab2_like as d2

_DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "docs" / "python.md"
_SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _list_snippets():
    """Returns (number of lines before, text) of each snippet."""
    text = _DOCUMENT.read_text(encoding="utf-8")
    return [
        (text[: match.start(1)].count("\n"), match[1])
        for match in _SNIPPET.finditer(text)
    ]


def _make_runnable(line):
    return "pass" if line.endswith("# doctest: skip") else line


@pytest.mark.slow
def test_the_snippets_run_and_use_every_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for first_line, snippet in _list_snippets():
        lines = [_make_runnable(line) for line in snippet.splitlines()]
        padded = "\n" * first_line + "\n".join(lines)
        exec(compile(padded, str(_DOCUMENT), "exec"), names)
    printed = capsys.readouterr().out
    assert "things (" in printed
    assert "resnet51" in printed
    assert names["result"].segmentation.shape == (200, 300)
    assert len(names["losses"]) == 2
    assert 0 <= names["results"]["summaries"]["evaluation/pq/PQ"] <= 1
    assert 0.5 < names["quality"].result().all.pq < 1
    assert names["features"]["res5"].shape == (1, 5, 9, 2048)
    assert names["prediction"].panoptic.shape == (1, 129, 257)
    assert (tmp_path / "overlay.png").exists()
    used = set(re.findall(r"d2\.(\w+)", _DOCUMENT.read_text(encoding="utf-8")))
    types = {"Config", "DatasetDescriptor", "PanopticModel", "PanopticResult"}
    assert set(d2.__all__) - used <= types | {"__version__", "metrics"}
