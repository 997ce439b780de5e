# SPDX-License-Identifier: Apache-2.0
from deeplab2_like.recipes.forms.tree import Tree


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return Tree.look(folder)


def test_folders_are_those_below_which_a_path_exists(tmp_path):
    tree = make(tmp_path, "a/x.png", "b/a/x.png", "x.png", "c/yx.png")
    assert sorted(tree.find_folders("x.png")) == [".", "a", "b/a"]
    assert sorted(tree.find_folders("a/x.png")) == [".", "b"]
    assert tree.find_folders("z.png") == []


def test_a_link_that_leads_back_ends(tmp_path):
    make(tmp_path, "a/x.png")
    (tmp_path / "a" / "back").symlink_to(tmp_path)
    assert Tree.look(tmp_path).files == ["a/x.png"]


def test_hidden_files_and_folders_are_left_out(tmp_path):
    assert make(tmp_path, ".git/x.png", ".x.png", "y.png").files == ["y.png"]


def test_kinds_are_counted(tmp_path):
    names = [f"{i}.{i}" for i in range(9)] + ["a.JPG", "b.jpg", "README"]
    text = make(tmp_path, *names).describe()
    assert text.startswith("2 .jpg, ")
    assert text.endswith("5 others")
