# SPDX-License-Identifier: Apache-2.0
import os

import pytest

from deeplab2_like import errors
from deeplab2_like.storage import user_paths

# Names that TensorFlow's own glob matches to files as patterns or not at all.
_FOLDERS = [
    "rec",
    "rec [v1]",
    "r*c",
    "r?c",
    "back\\slash",
    ".hidden",
    "a b",
    "rec]",
    "ünï",
]


@pytest.fixture(name="home")
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def test_the_home_folder_is_meant_by_a_tilde(home):
    assert user_paths.expand("~") == str(home)
    assert user_paths.expand("~/runs/1") == f"{home}/runs/1"
    assert user_paths.expand("~root/x") == os.path.expanduser("~root/x")
    assert user_paths.expand("a/~/b") == "a/~/b"
    assert user_paths.expand("gs://bucket/~x") == "gs://bucket/~x"


@pytest.mark.usefixtures("home")
def test_the_home_of_nobody_is_refused_and_never_a_folder():
    with pytest.raises(errors.ConfigError) as info:
        user_paths.expand("~no-such-user/runs", "--out=")
    assert str(info.value) == (
        "--out='~no-such-user/runs' begins with ~no-such-user, and there is no "
        "user of that name whose home folder it could be. Write "
        "./~no-such-user/runs for a path of that name."
    )


def test_a_file_whose_name_begins_with_a_tilde_is_itself(home):
    name = "~$letter.docx"
    (home.parent / name).write_text("")
    assert user_paths.expand(name) == name


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("a\nb", r"--out='a\\nb' contains the control character '\\n'"),
        ("a\0b", "control character"),
        ("a\x7fb", "control character"),
        ("a\udcff", "is not UTF-8"),
    ],
)
def test_what_no_path_may_contain_is_one_sentence(path, message):
    with pytest.raises(errors.ConfigError, match=message):
        user_paths.expand(path, "--out=")


@pytest.mark.parametrize(
    "name", ["run [v1]", "run[12]", "run*", "run?", "back\\slash"]
)
def test_a_checkpoint_below_a_pattern_is_refused_in_one_sentence(name):
    for path in (name, f"/data/{name}/run", f"{name}/ckpt-5"):
        with pytest.raises(errors.ConfigError) as info:
            user_paths.expand_checkpoint(path, "--model_dir=")
        assert "\n" not in str(info.value)
        assert str(info.value).startswith(f"--model_dir={path!r} contains '")


@pytest.mark.parametrize(
    "path",
    ["run (1)", "run]", "run{a,b}", "run 'x'", "a\tb", "x [v1]/net.h5"],
)
def test_other_names_are_fine_for_a_checkpoint(path):
    assert user_paths.expand_checkpoint(path) == path


@pytest.fixture(name="folders", scope="module")
def _folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("records")
    for name in _FOLDERS:
        (root / name).mkdir()
        for file in ("train-0", "train-1", ".partial", "va[l]", "x\\y"):
            (root / name / file).write_text("")
    return root


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("rec/train-*", 2),
        ("rec/*", 5),
        ("rec//train-*", 2),
        ("./rec/train-?", 2),
        ("rec/train-[01]", 2),
        ("rec/train-[!0]", 1),
        ("rec/train-[^0]", 1),
        ("rec/.*", 1),
        ("*/train-0", len(_FOLDERS)),
        ("**/train-0", len(_FOLDERS)),
        ("r\\*c/train-*", 2),
        ("r*c/train-0", 3),
        ("back\\\\slash/train-*", 2),
        ("rec/va[[]l]", 1),
        ("rec/va[l]", 1),
        ("rec [v1]/train-*", 2),
        ("rec [v1]/va[l]", 1),
        ("rec [v1]/[tv]*", 3),
        ("r?c/train-0", 3),
        ("back\\slash/train-*", 2),
        ("rec]/train-*", 2),
        ("ünï/train-*", 2),
        ("nowhere/*", 0),
        ("rec/train-9", 0),
        ("rec [v2]/train-*", 0),
    ],
)
def test_patterns_match_as_tensorflow_does_and_names_as_themselves(
    folders, monkeypatch, pattern, count
):
    monkeypatch.chdir(folders)
    found = user_paths.find_files(pattern)
    assert len(found) == count
    assert found == sorted(found)
    assert user_paths.find_files(str(folders / pattern)) == [
        os.path.join(folders, os.path.normpath(path)) for path in found
    ]


@pytest.mark.parametrize("name", _FOLDERS)
def test_an_escaped_path_matches_itself_alone(folders, name):
    for file in ("train-0", "va[l]", "x\\y"):
        path = str(folders / name / file)
        assert user_paths.find_files(user_paths.escape_pattern(path)) == [path]


def test_a_name_that_matches_others_as_a_pattern_is_never_guessed(tmp_path):
    for name in ("rec [v1]", "rec v"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train-0").write_text("")
    with pytest.raises(errors.DataError) as info:
        user_paths.find_files(f"{tmp_path}/rec [v1]/train-*")
    assert "by its name" in str(info.value)
    escaped = f"{tmp_path}/rec [[]v1]/train-*"
    assert repr(escaped) in str(info.value)
    assert user_paths.find_files(escaped) == [f"{tmp_path}/rec [v1]/train-0"]
