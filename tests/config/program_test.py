# SPDX-License-Identifier: Apache-2.0
"""The program, run as a user runs it."""

import pathlib
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_NAME = "scenes/panoptic_deeplab_mobilenet_v3_small_os16"


def _run(*arguments):
    """Returns the exit code, output and errors of the program."""
    done = subprocess.run(
        [sys.executable, "-m", "deeplab2_like.config", *arguments],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, done.stdout, done.stderr


def test_a_valid_config_is_ok():
    code, out, err = _run(_NAME)
    assert code == 0
    assert out.startswith(f"{_NAME}: ok")
    assert not err


def test_several_files_are_all_checked(tmp_path):
    bad = tmp_path / "bad.textproto"
    bad.write_text("evaluator_options {\n nms_kernle: 3 }\n")
    code, out, err = _run(str(bad), _NAME, "no/such")
    assert code == 2
    assert f"{bad}:2:2: evaluator_options.nms_kernle is an unknown" in out
    assert f"{bad}: 1 problem\n" in out
    assert f"{_NAME}: ok" in out
    assert "no/such" in out
    assert err == "Error: 2 of 3 files cannot be used.\n"


def test_overrides_are_applied():
    good = "evaluator_options { nms_kernel: 3 }"
    bad = "evaluator_options { nms_kernel: 0 }"
    code, out, _ = _run(
        _NAME, "--config_override", good, f"--config_override={bad}"
    )
    assert code == 2
    assert "--config_override[1]:1" in out


def test_a_descriptor_is_checked_as_one(tmp_path):
    assert _run("datasets/coco_panoptic")[0] == 0
    bad = tmp_path / "bad.textproto"
    bad.write_text("# proto-message: DatasetDescriptor\nname: 'a'\n")
    code, out, _ = _run(str(bad))
    assert code == 2
    assert "ignore_label is not set" in out


def test_the_resolved_config_is_printed_alone(tmp_path):
    code, out, err = _run(_NAME, "--print_resolved")
    assert code == 0
    assert "output_channels: 9" in out
    assert f"{_NAME}: ok" in err
    again = tmp_path / "resolved.textproto"
    again.write_text(out)
    assert _run(str(again))[0] == 0


def test_a_field_is_explained():
    code, out, _ = _run("--explain", "evaluator_options.nms_kernel")
    assert code == 0
    assert "evaluator_options.nms_kernel: int32" in out
    assert "Side of the window" in out
    assert "default: 3" in out
    assert "allowed: in [1, 1025]" in out


def test_an_empty_field_to_explain_lists_the_top():
    code, out, _ = _run("--explain", "")
    assert code == 0
    assert "  model_options: ModelOptions\n" in out


def test_an_unknown_field_to_explain_names_the_nearest():
    code, _, err = _run("--explain", "evaluator_options.nms_kernl")
    assert code == 2
    assert "nms_kernel" in err


def test_the_known_names_are_listed():
    code, out, _ = _run("--list")
    assert code == 0
    assert f"  {_NAME}\n" in out
    assert "  coco_panoptic\n" in out


def test_nothing_to_do_is_an_error():
    code, _, err = _run()
    assert code == 2
    assert "name at least one FILE" in err


@pytest.mark.parametrize(
    "start",
    [
        ("-m", "deeplab2_like.config"),
        ("-c", "from deeplab2_like.config import check_main as m; m.cli()"),
    ],
    ids=["module", "command"],
)
def test_help_shows_the_flags(start):
    done = subprocess.run(
        [sys.executable, *start, "--help"],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Checks configs" in done.stdout
    for flag in ("config_override", "explain", "print_resolved", "list"):
        assert flag in done.stdout


def test_checking_imports_neither_tensorflow_nor_numpy():
    """In a process of its own, because the test run imports both."""
    code = (
        "import sys\n"
        "from deeplab2_like import config\n"
        "from deeplab2_like.labels import descriptor\n"
        f"config.load({_NAME!r})\n"
        "descriptor.load('scenes')\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'absl', 'PIL', 'rich'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "from deeplab2_like.config import check_main\n"
        f"sys.argv = ['check', {_NAME!r}, '--explain', 'nms_kernel']\n"
        "try:\n"
        "    check_main.cli()\n"
        "except SystemExit as error:\n"
        "    assert not error.code, error.code\n"
        "heavy -= {'absl'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=_ROOT, check=True)
