# SPDX-License-Identifier: Apache-2.0
import pytest
from absl import flags

from deeplab2_like.console import path_flags


@pytest.fixture(name="parse")
def _parse(tmp_path, monkeypatch):
    """Returns a function from a command line to the values of its flags."""
    monkeypatch.setenv("HOME", str(tmp_path))
    values = flags.FlagValues()
    path_flags.define("out", "~/default", "A folder.", flag_values=values)
    path_flags.define(
        "run", None, "A run.", flag_values=values, holds_checkpoint=True
    )
    path_flags.define_multi("pattern", "Files.", flag_values=values)
    path_flags.define_list("images", "Images.", flag_values=values)

    def parse(*arguments):
        values(["program", *arguments])
        return values.flag_values_dict()

    return parse


def test_a_tilde_is_the_home_folder_in_every_kind_of_flag(parse, tmp_path):
    found = parse(
        "--run=~/runs/1", "--pattern=~/a*", "--pattern=b", "--images=~,x.jpg"
    )
    assert found == {
        "out": f"{tmp_path}/default",
        "run": f"{tmp_path}/runs/1",
        "pattern": [f"{tmp_path}/a*", "b"],
        "images": [f"{tmp_path}", "x.jpg"],
    }


def test_a_flag_that_is_not_given_has_no_path(parse):
    found = parse()
    assert (found["run"], found["pattern"], found["images"]) == (None, [], [])


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--run=run [v1]", r"--run='run \[v1\]' contains '\['"),
        ("--out=a\nb", "control character"),
        ("--images=a,~no-such-user/x", "--images='~no-such-user/x' begins"),
        ("--pattern=~no-such-user/x", "there is no user"),
    ],
)
def test_a_path_that_cannot_be_used_is_refused(parse, argument, message):
    with pytest.raises(flags.IllegalFlagValueError, match=message):
        parse(argument)


def test_other_folders_may_have_any_name(parse):
    assert parse("--out=rec [v1]")["out"] == "rec [v1]"
