# SPDX-License-Identifier: Apache-2.0
"""Fast exporting, and an export of all kinds of signatures."""

import shutil

import pytest

from deeplab2_like.exports import parity, saved_model, serving, xla_off
from deeplab2_like.scenes import scene


@pytest.fixture
def _quick(exported, monkeypatch):
    """Makes exporting fast: the module is not traced but copied."""

    def save(_, directory):
        shutil.copytree(exported, directory, dirs_exist_ok=True)
        shutil.rmtree(f"{directory}/assets.extra")

    images = [(str(n), scene.make_scene(n, (64, 64)).image) for n in (0, 1)]
    monkeypatch.setattr(serving.ServingModule, "save", save)
    monkeypatch.setattr(parity, "make_images", lambda *_: images)
    monkeypatch.setattr(xla_off, "predict", lambda *_: None)


@pytest.fixture(scope="session")
def both(tiny_run, tmp_path_factory):
    """Returns an export with compiled twins, on canvases of two sizes."""
    out = tmp_path_factory.mktemp("both") / "saved"
    options = saved_model.ExportOptions(
        canvas="65x129,129x257", jit_compile="both", has_overlay=True
    )
    saved_model.export(str(tiny_run), str(out), options)
    return out
