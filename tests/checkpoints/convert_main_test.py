# SPDX-License-Identifier: Apache-2.0
import pickle

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.checkpoints import convert_main, initialization
from deeplab2_like.checkpoints import files as checkpoint_files


def _run(*arguments):
    """Runs the program in this process."""
    program = convert_main
    program._FLAGS.unparse_flags()
    for name in program._FLAGS:
        program._FLAGS[name].unparse()
    rest = program._FLAGS(["convert", *map(str, arguments)])
    program._main(rest[1:])


def test_the_program_says_what_it_did(tiny_run, in_deeplab2, tmp_path, capfd):
    _run(
        f"--from={in_deeplab2}",
        f"--to={tmp_path}/own/",
        f"--config_file={tiny_run}/config.textproto",
    )
    said = capfd.readouterr().err
    for word in ("loaded", "skipped", "missing", "mismatched", "unused"):
        assert word in said
    assert "Wrote" in said
    assert "step 7" in said
    assert checkpoint_files.find_checkpoint(f"{tmp_path}/own")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--to=x", "--config_file=c"], errors.ConfigError, "--from is mis"),
        (["--from=x", "--config_file=c"], errors.ConfigError, "--to is miss"),
        (["--from=x", "--to=y"], errors.ConfigError, "--config_file is miss"),
        (["x"], errors.ConfigError, "Unexpected argument 'x'"),
        (
            ["--from=x", "--to=y", "--config_file=none"],
            errors.ConfigError,
            "none",
        ),
        (
            ["--from=x", "--to=y", "--config_file=RUN/config.textproto"],
            errors.CheckpointError,
            "no checkpoint x",
        ),
        (
            ["--from=none.pkl", "--to=y"],
            errors.CheckpointError,
            "There is no file none.pkl: give",
        ),
        (
            ["--from=RUN", "--to=RUN", "--config_file=RUN/config.textproto"],
            errors.CheckpointError,
            "already holds",
        ),
    ],
)
def test_wrong_command_lines_are_one_sentence(
    tiny_run, tmp_path, monkeypatch, arguments, error, message
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        _run(*(text.replace("RUN", str(tiny_run)) for text in arguments))
    assert list(tmp_path.iterdir()) == []


def test_a_whole_model_needs_no_config(tmp_path, monkeypatch, capfd):
    from deeplab2_like.checkpoints.peers import conversion

    (tmp_path / "a.pkl").write_bytes(
        pickle.dumps({"model": {"conv1.weight": np.zeros(3)}})
    )
    with pytest.raises(errors.CheckpointError, match=r"begin with conv1\.w"):
        _run(f"--from={tmp_path}/a.pkl", f"--to={tmp_path}/b")

    def convert(source, target, options):
        assert options.overrides == ["evaluator_options {}"]
        report = initialization.RestoreReport(source, ["a"], {}, [], {}, [])
        peer = conversion.Peer(options.peer)
        return conversion.Converted(
            peer, target, f"{target}.textproto", report, is_order_known=False
        )

    monkeypatch.setattr(conversion, "convert", convert)
    monkeypatch.setattr(conversion, "find_peer", lambda *_: "any")
    command = [
        f"--from={tmp_path}/a.pkl",
        f"--to={tmp_path}/b",
        "--peer=panoptic_deeplab",
        "--config_override=evaluator_options {}",
    ]
    _run(*command)
    said = capfd.readouterr().err
    for word in ("order of the file", "bowenc0221", "b.textproto"):
        assert word in said
    with pytest.raises(errors.ConfigError, match="--to_layout=deeplab2 is not"):
        _run(*command, "--to_layout=deeplab2")
