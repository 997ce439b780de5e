# SPDX-License-Identifier: Apache-2.0
import pathlib
import subprocess
import sys

import pytest

from deeplab2_like.config import __main__ as program

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_NAME = "scenes/panoptic_deeplab_mobilenet_v3_small_os16"


def test_a_valid_config_is_ok(capsys):
    assert program.main([_NAME]) == 0
    assert capsys.readouterr().out.startswith(f"{_NAME}: ok")


def test_several_files_are_all_checked(tmp_path, capsys):
    bad = tmp_path / "bad.textproto"
    bad.write_text("evaluator_options {\n nms_kernle: 3 }\n")
    assert program.main([str(bad), _NAME, "no/such"]) == 2
    out = capsys.readouterr().out
    assert f"{bad}:2:2: evaluator_options.nms_kernle is an unknown" in out
    assert f"{bad}: 1 problem\n" in out
    assert f"{_NAME}: ok" in out
    assert "no/such" in out


def test_overrides_are_applied(capsys):
    bad = "evaluator_options { nms_kernel: 0 }"
    assert program.main([_NAME, "--config_override", bad]) == 2
    assert "--config_override[0]:1" in capsys.readouterr().out


def test_a_descriptor_is_checked_as_one(tmp_path, capsys):
    assert program.main(["datasets/coco_panoptic"]) == 0
    bad = tmp_path / "bad.textproto"
    bad.write_text("# proto-message: DatasetDescriptor\nname: 'a'\n")
    assert program.main([str(bad)]) == 2
    assert "ignore_label is not set" in capsys.readouterr().out


def test_the_resolved_config_is_printed_alone(capsys, tmp_path):
    assert program.main([_NAME, "--print_resolved"]) == 0
    out = capsys.readouterr().out
    assert "output_channels: 9" in out
    again = tmp_path / "resolved.textproto"
    again.write_text(out)
    assert program.main([str(again)]) == 0


def test_a_field_is_explained(capsys):
    assert program.main(["--explain", "evaluator_options.nms_kernel"]) == 0
    out = capsys.readouterr().out
    assert "evaluator_options.nms_kernel: int32" in out
    assert "Side of the window" in out
    assert "default: 3" in out
    assert "allowed: in [1, 1025]" in out


def test_an_unknown_field_to_explain_names_the_nearest(capsys):
    assert program.main(["--explain", "evaluator_options.nms_kernl"]) == 2
    assert "nms_kernel" in capsys.readouterr().err


def test_the_known_names_are_listed(capsys):
    assert program.main(["--list"]) == 0
    out = capsys.readouterr().out
    assert f"  {_NAME}\n" in out
    assert "  coco_panoptic\n" in out


def test_nothing_to_do_is_an_error(capsys):
    with pytest.raises(SystemExit) as caught:
        program.main([])
    assert caught.value.code == 2
    assert "name at least one FILE" in capsys.readouterr().err


def test_checking_imports_neither_tensorflow_nor_numpy():
    """In a process of its own, because the test run imports both."""
    code = (
        "import sys\n"
        "from deeplab2_like.config import __main__\n"
        "from deeplab2_like.data import descriptor\n"
        f"code = __main__.main([{_NAME!r}, '--explain', 'nms_kernel'])\n"
        "descriptor.load('scenes')\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'absl', 'PIL', 'rich'}\n"
        "assert code == 0\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=_ROOT, check=True)


def test_the_exit_code_reaches_the_shell(tmp_path):
    bad = tmp_path / "bad.textproto"
    bad.write_text("x")
    result = subprocess.run(
        [sys.executable, "-m", "deeplab2_like.config", str(bad)],
        cwd=_ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert "Traceback" not in result.stdout + result.stderr
