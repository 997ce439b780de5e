# SPDX-License-Identifier: Apache-2.0
"""The page's files and what it is told, without a browser."""

import fnmatch
import io
import pathlib
import re

import numpy as np
import pytest
from PIL import Image

from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.labels import palette
from deeplab2_like.scenes import scene
from deeplab2_like.server import model as model_lib
from deeplab2_like.server import page
from deeplab2_like.server.versions import State, VersionStatus

_KEY = "a" * 32
_ROOT = pathlib.Path(__file__).parents[2]


def test_the_page_and_its_files_are_sent_with_a_strict_policy(server):
    files = page.load_files()
    assert len(files) > 8
    for name, content in files.items():
        path = "/" if name == page.PAGE_FILE else f"/page/{name}"
        response = server.get(path)
        assert response.status_code == 200
        assert response.content == content
        policy = response.headers["content-security-policy"].split("; ")
        assert policy[0] == "default-src 'none'"
        assert "script-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert not re.search(r"unsafe|http|\*", " ".join(policy))
        assert response.headers["x-content-type-options"] == "nosniff"
    types = {
        "/": "text/html; charset=utf-8",
        "/page/main.js": "text/javascript; charset=utf-8",
        "/page/page.css": "text/css; charset=utf-8",
        "/page/icon.svg": "image/svg+xml",
        "/page/street-1.jpg": "image/jpeg",
    }
    for path, media_type in types.items():
        assert server.get(path).headers["content-type"] == media_type


def test_nothing_is_loaded_from_elsewhere_nor_run_from_within(read_page):
    files = page.load_files()
    shown = read_page(files[page.PAGE_FILE].decode())
    for tag, attributes in shown.elements:
        for key in ("src", "href", "action", "srcset", "poster", "data"):
            value = attributes.get(key, "#")
            name = value.removeprefix("page/")
            assert value.startswith("#") or name in files, (tag, key, value)
        assert "style" not in attributes
        assert not [key for key in attributes if key.startswith("on")]
    assert not shown.texts.get("script", [""])[0].strip()
    assert "style" not in shown.texts
    for name, content in files.items():
        if name.endswith((".jpg", ".svg")):
            continue
        text = content.decode("ascii")
        assert not re.search(r"https?://|url\(|@import|innerHTML", text), name
        for module in re.findall(r'from "(.*?)"', text):
            assert module.removeprefix("./") in files


def test_each_label_and_description_names_an_element(read_page):
    shown = read_page(page.load_files()[page.PAGE_FILE].decode())
    ids = [a["id"] for _, a in shown.elements if "id" in a]
    assert len(ids) == len(set(ids))
    keys = ("for", "aria-labelledby", "aria-describedby")
    for _, attributes in shown.elements:
        for key in keys:
            assert attributes.get(key, ids[0]) in ids
    script = page.load_files()["main.js"].decode()
    assert set(re.findall(r'element\("(.*?)"\)', script)) <= set(ids)


def test_the_samples_are_scenes_and_small():
    files = page.load_files()
    samples = sorted(name for name in files if name.endswith(".jpg"))
    assert sum(len(files[name]) for name in samples) < 60_000
    for name, index in zip(samples, (0, 8, 3), strict=True):
        seed = scene.compute_seed("test", index)
        drawn = scene.make_scene(seed, (257, 513)).image
        with Image.open(io.BytesIO(files[name])) as image:
            difference = np.abs(np.asarray(image).astype(int) - drawn)
        assert difference.mean() < 8


def test_the_files_are_data_of_the_package():
    text = (_ROOT / "setup.cfg").read_text(encoding="utf-8")
    (patterns,) = re.findall(r"(?m)^deeplab2_like\.server = (.*)$", text)
    folder = _ROOT / "deeplab2_like" / "server"
    found = [
        file.relative_to(folder).as_posix()
        for file in folder.rglob("*")
        if file.is_file() and file.suffix not in (".py", ".pyc")
    ]
    assert len(found) == len(page.load_files())
    for name in found:
        assert any(
            fnmatch.fnmatch(name, pattern.strip())
            for pattern in patterns.split(",")
        ), name


def test_models_are_listed_with_classes_and_colors(server, model):
    model.descriptor = descriptor_lib.load("scenes")
    response = server.get("/page/models")
    assert response.headers["cache-control"] == "no-store"
    document = response.json()
    assert document["max_body_bytes"] == 32_000_000
    (listed,) = document["models"]
    classes = listed.pop("classes")
    assert listed == {
        "name": "mine",
        "version": "3",
        "problem": "",
        "has_compact": True,
        "data_set": "scenes",
    }
    assert [c["name"] for c in classes] == list(scene.CLASS_NAMES)
    colors = palette.choose_class_colors(model.descriptor)
    for index, listed_class in enumerate(classes):
        assert listed_class["color"] == colors[index].tolist()
        assert listed_class["isthing"] == (index in scene.THING_IDS)
        shades = listed_class["shades"]
        assert bool(shades) == (index in scene.THING_IDS)
        assert len({tuple(shade) for shade in shades}) == len(shades)


def test_models_without_classes_or_compact_answers_are_listed(server, model):
    del model.signatures["encoded_compact"]
    (listed,) = server.get("/page/models").json()["models"]
    assert listed["version"] == "3"
    assert not listed["has_compact"]
    assert listed["data_set"] is None
    assert listed["classes"] == []


def test_an_export_without_its_data_set_is_served_without_names(tmp_path):
    assert model_lib._load_descriptor(tmp_path) is None


@pytest.mark.parametrize("problem", ["", "The SavedModel cannot be loaded."])
def test_models_that_are_not_loaded_are_listed(start, monkeypatch, problem):
    server = start(is_loaded=False)
    served = server.client.app.state.store.get("mine")
    status = VersionStatus(3, State.END if problem else State.LOADING, problem)
    monkeypatch.setattr(served, "list_statuses", lambda: [status])
    (listed,) = server.get("/page/models").json()["models"]
    assert listed["version"] is None
    assert listed["problem"] == problem


def test_the_page_needs_no_key_and_what_it_is_told_does(start):
    server = start(api_key=_KEY)
    for name in page.load_files():
        path = "/" if name == page.PAGE_FILE else f"/page/{name}"
        assert server.get(path).status_code == 200
    assert server.get("/page/models").status_code == 401
    response = server.get("/page/models", authorization=f"Bearer {_KEY}")
    assert response.status_code == 200


@pytest.mark.parametrize("path", ["/", "/page/main.js", "/page/models"])
def test_the_page_can_be_left_out(start, path):
    assert start(has_page=False).get(path).status_code == 404


@pytest.mark.parametrize(
    "path", ["/page/", "/page/page.html", "/page/../page.py", "/page/no.js"]
)
def test_other_files_are_not_sent(server, path):
    assert server.get(path).status_code == 404
