# SPDX-License-Identifier: Apache-2.0
import dataclasses
import io
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from benchmarks import semi_supervised_data, semi_supervised_tables
from benchmarks import semi_supervised_runs as runs_lib
from deeplab2_like import errors
from deeplab2_like.data.records import features, writer

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def _write(folder, split, count, has_label=True):
    records = []
    for index in range(count):
        stream = io.BytesIO()
        Image.fromarray(np.full((4, 4, 3), index, np.uint8)).save(stream, "PNG")
        records.append(
            features.encode_example(
                name=f"{split}-{index}",
                image=stream.getvalue(),
                image_format="png",
                size=(4, 4),
                panoptic=np.zeros((4, 4), int) if has_label else None,
            )
        )
    writer.write_shards(records, count, str(folder), split, 2)
    return f"{folder}/{split}-*"


def _names(pattern):
    return [name for name, _ in semi_supervised_data.read_records([pattern])]


def test_records_are_divided_the_same_way_each_time(tmp_path):
    patterns = [
        _write(tmp_path, "train", 9),
        _write(tmp_path, "more", 3, has_label=False),
    ]
    counts = {}
    for count in (2, 5, 0):
        folder = tmp_path / str(count)
        counts[count] = semi_supervised_data.split(patterns, count, folder)
        again = semi_supervised_data.split(patterns, count, folder)
        assert again == counts[count]
        for name, record in semi_supervised_data.read_records(
            [f"{folder}/unlabelled-*"]
        ):
            assert not semi_supervised_data.has_label(record), name
    assert counts[2] == {"labelled": 2, "unlabelled": 10, "hidden": 7}
    assert counts[5] == {"labelled": 5, "unlabelled": 7, "hidden": 4}
    assert counts[0] == {"labelled": 9, "unlabelled": 3, "hidden": 0}
    few, more = (_names(f"{tmp_path}/{n}/labelled-*") for n in (2, 5))
    assert set(few) < set(more)
    hidden = _names(f"{tmp_path}/2/hidden-*")
    assert not set(hidden) & set(few)
    unlabelled = _names(f"{tmp_path}/2/unlabelled-*")
    assert set(hidden) < set(unlabelled)


def test_images_of_validation_and_damaged_records_are_refused(tmp_path):
    train, val = _write(tmp_path, "train", 3), _write(tmp_path, "val", 2)
    with pytest.raises(errors.DataError, match="also in --val="):
        semi_supervised_data.check_apart([train], val)
    path = min(tmp_path.glob("train-*"))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(errors.DataError, match="cut off"):
        semi_supervised_data.split([train], 1, tmp_path / "data")


def test_too_few_records_are_refused(tmp_path):
    pattern = _write(tmp_path, "train", 3)
    with pytest.raises(errors.DataError, match="fewer than the 4"):
        semi_supervised_data.split([pattern], 4, tmp_path / "a")
    with pytest.raises(errors.DataError, match="--unlabelled"):
        semi_supervised_data.split([pattern], 0, tmp_path / "b")


@pytest.mark.parametrize("rounds", [1, 2, 3])
@pytest.mark.parametrize("total", [5, 100, 1000])
@pytest.mark.parametrize("fine_tuning", [0.0, 0.1, 0.5, 2.0])
def test_the_steps_of_all_stages_add_up_where_they_are_to(
    rounds, total, fine_tuning
):
    plan = runs_lib.plan_steps(rounds, total, "total", fine_tuning=fine_tuning)
    spent = plan.network * (rounds + 1) + plan.tuning
    assert total - rounds - 2 <= spent <= total
    assert plan.network >= 1
    if total == 1000:
        assert plan.tuning == pytest.approx(fine_tuning * plan.network, abs=1)
    plan = runs_lib.plan_steps(rounds, total, "steps", fine_tuning=fine_tuning)
    assert plan == runs_lib.Steps(total, round(fine_tuning * total))


def test_a_single_network_has_all_steps():
    for equal in ("steps", "total"):
        plan = runs_lib.plan_steps(0, 900, equal, fine_tuning=0.1)
        assert plan == runs_lib.Steps(900, 0)


_COMPARISON = runs_lib.Comparison(
    config="scenes/tiny",
    patterns=["train-*"],
    val="val-*",
    steps=100,
    equal="total",
    fine_tuning=0.1,
    rounds_options="label_mirrored: true",
)


def test_the_config_of_a_run_has_the_steps_of_its_table(tmp_path):
    run = runs_lib.Run("naive_student_1", "config", 3, "1")
    plan = _COMPARISON.plan(run)
    text = " ".join(runs_lib.make_overrides(run, _COMPARISON, tmp_path))
    assert f"training_number_of_steps: {plan.network} " in text
    assert f"fine_tuning_steps: {plan.tuning} " in text


def test_results_of_other_flags_are_refused(tmp_path):
    run = runs_lib.Run("naive_student_1", "config", 3, "1")
    arguments = _COMPARISON.describe(run, tmp_path)
    for _ in range(2):
        runs_lib.keep_arguments(tmp_path / "run", arguments)
    for change in ({"steps": 50}, {"val": "b-*"}, {"config": "other"}):
        other = dataclasses.replace(_COMPARISON, **change)
        with pytest.raises(errors.ConfigError, match="made with other flags"):
            runs_lib.keep_arguments(
                tmp_path / "run", other.describe(run, tmp_path)
            )


def test_divided_records_of_other_patterns_are_refused(tmp_path):
    first = _write(tmp_path, "train", 4)
    second = _write(tmp_path, "other", 4)
    semi_supervised_data.split([first], 2, tmp_path / "data")
    with pytest.raises(errors.DataError, match="was made of"):
        semi_supervised_data.split([second], 2, tmp_path / "data")


def test_tables_have_means_and_spreads():
    seeds = [
        {"PQ": x, "things": x / 2, "mIoU": None, "minutes": 3, "steps": 7}
        for x in (0.5, 0.7)
    ]
    table = semi_supervised_tables.make_table(
        {("supervised", "random", 28): seeds}
    )
    assert table[-1] == (
        "| 28 | random | supervised only | 2 | 60.0 (50.0 to 70.0) | "
        "30.0 (25.0 to 35.0) | - | 7 | 3.0 |"
    )
    assert len({line.count("|") for line in table}) == 1
    count = len(semi_supervised_data.BINS)
    quality = {
        "num_images": 4,
        "summaries": {"PQ": 0.5, "mIoU": 0.25},
        "shares": [1.0] + [0.0] * (count - 1),
        "accuracies": [0.75] + [None] * (count - 1),
    }
    table = semi_supervised_tables.make_label_table(
        {("naive_student_1", "random", 0, 1): quality}
    )
    assert len({line.count("|") for line in table}) == 1
    assert "100.0 % of pixels, 75.0 %" in table[-1]


@pytest.mark.slow
def test_the_program_runs_resumes_and_prints_its_tables(write_config, tmp_path):
    pytest.importorskip("orbit")
    from deeplab2_like.scenes import records as scenes_records

    options = """\
    trainer_options {
      steps_per_loop: 1
      loss_options {
        semantic_loss { name: "softmax_cross_entropy" }
        center_loss { name: "mse" weight: 200 }
        regression_loss { name: "l1" weight: 0.1 }
      }
    }
    train_dataset_options {
      dataset: "scenes" batch_size: 2 crop_size: [65, 129] sigma: 4
    }
    eval_dataset_options {
      dataset: "scenes" batch_size: 1 crop_size: [65, 129]
    }
    evaluator_options { keep_k_centers: 20 }
    """
    config = tmp_path / "config.textproto"
    config.write_text(write_config("few", 32, [1, 2, 3], options))
    for split, count in (("train", 4), ("val", 1)):
        scenes_records.write_records(
            str(tmp_path), split, count, size=(65, 129), num_shards=1
        )
    command = [
        sys.executable,
        str(_ROOT / "benchmarks" / "semi_supervised.py"),
        f"--work={tmp_path / 'work'}",
        f"--config={config}",
        f"--train={tmp_path}/train-*",
        f"--val={tmp_path}/val-*",
        "--labelled=2",
        "--methods=supervised,naive_student_1",
        "--seeds=1",
        "--steps=2",
        "--fine_tuning=0.5",
    ]
    outputs = [
        subprocess.run(command, capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert "naive_student_1_config_2_1: PQ" in outputs[0].stdout
    # The second time nothing is done but the tables.
    assert outputs[0].stdout.endswith(outputs[1].stdout)
    assert outputs[1].stdout.startswith("| labels |")
    assert "% of pixels" in outputs[1].stdout
    other = subprocess.run(
        [*command, "--steps=3"], capture_output=True, text=True, check=False
    )
    assert other.returncode == errors.ConfigError.exit_code
    assert "was made with other flags" in other.stderr
