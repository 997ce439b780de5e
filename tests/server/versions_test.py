# SPDX-License-Identifier: Apache-2.0
import pathlib

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.server import failures, versions
from deeplab2_like.server.batching import Batcher, BatchingOptions
from deeplab2_like.server.versions import ModelOptions, ServedModel, State


def _write(folder, text="model"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "saved_model.pb").write_text(text)


@pytest.fixture
def serve(tmp_path, model):
    """Returns a function that serves `tmp_path`; files say what they are."""
    served = []

    def load(folder: pathlib.Path):
        if (folder / "saved_model.pb").read_text() == "damaged":
            raise errors.ExportError("The SavedModel is damaged.")
        return model

    def make(**options):
        served.append(
            ServedModel(
                ModelOptions("mine", tmp_path, **options),
                load,
                lambda loaded: Batcher(loaded, BatchingOptions()),
            )
        )
        return served[-1]

    yield make
    for one in served:
        one.close()


def _states(served):
    return {s.version: s.state for s in served.list_statuses()}


def test_versions_are_folders_with_a_model(tmp_path):
    for name in ("1", "20", "003"):
        _write(tmp_path / name)
    (tmp_path / "4").mkdir()
    _write(tmp_path / "five")
    _write(tmp_path / "-6")
    assert sorted(versions.find_versions(tmp_path)) == [1, 3, 20]
    assert versions.find_versions(tmp_path / "20") == {20: tmp_path / "20"}
    assert versions.find_versions(tmp_path / "five") == {1: tmp_path / "five"}
    assert versions.find_versions(tmp_path / "none") == {}


def test_a_new_version_replaces_the_earlier_one(tmp_path, serve):
    served = serve()
    with pytest.raises(failures.RequestError, match="not loaded yet"):
        served.get()
    served.poll()
    assert not served.is_ready
    _write(tmp_path / "1")
    served.poll()
    assert served.get()[0] == 1
    _write(tmp_path / "2")
    served.poll()
    assert served.get()[0] == 2
    assert _states(served) == {2: State.AVAILABLE, 1: State.END}
    with pytest.raises(failures.RequestError, match=r"Specific\(mine, 1\)"):
        served.get(1)


def test_an_earlier_version_stays_while_the_new_one_is_damaged(tmp_path, serve):
    served = serve()
    _write(tmp_path / "1")
    served.poll()
    _write(tmp_path / "2", "damaged")
    for _ in range(2):
        served.poll()
        assert served.get()[0] == 1
    status = served.list_statuses()[0]
    assert (status.version, status.state) == (2, State.END)
    assert status.problem == "The SavedModel is damaged."
    _write(tmp_path / "2", "repaired")
    served.poll()
    assert served.get()[0] == 2


def test_labels_keep_versions_loaded(tmp_path, serve):
    for name in ("1", "2", "3"):
        _write(tmp_path / name)
    served = serve(labels={"stable": 1, "missing": 9})
    served.poll()
    assert set(_states(served)) == {1, 3}
    assert served.get(label="stable")[0] == 1
    assert served.get(1)[0] == 1
    with pytest.raises(failures.RequestError, match="no label 'other'"):
        served.get(label="other")
    with pytest.raises(failures.RequestError, match=r"Specific\(mine, 9\)"):
        served.get(label="missing")


def test_several_versions_may_be_loaded(tmp_path, serve):
    for name in ("1", "2", "3"):
        _write(tmp_path / name)
    served = serve(num_versions=2)
    served.poll()
    assert set(_states(served)) == {2, 3}
    assert served.get()[0] == 3


def test_a_folder_that_disappears_leaves_its_model(tmp_path, serve):
    served = serve()
    _write(tmp_path / "1")
    served.poll()
    (tmp_path / "1" / "saved_model.pb").unlink()
    served.poll()
    assert served.get()[0] == 1


def test_unloading_answers_what_waits(tmp_path, serve, model):
    served = serve()
    _write(tmp_path / "1")
    served.poll()
    _, batcher = served.get()
    files = {"image_bytes": np.array([b"abc"], object)}
    answer = batcher.submit("encoded", files, 30)
    served.close()
    assert answer.result(0)["length"].tolist() == [3]
    assert not served.is_ready
    assert model.calls == [[b"abc"]]
