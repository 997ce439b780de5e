# SPDX-License-Identifier: Apache-2.0
import json

import pytest
from absl import flags

from benchmarks import compare_systems, models
from deeplab2_like import config, errors


@pytest.fixture(name="run_flags")
def _run_flags():
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()


def test_a_row_has_the_mean_and_the_spread_of_the_seeds():
    seeds = [
        {"PQ": pq, "PQ_things": pq / 2, "PQ_stuff": 1.0}
        for pq in (0.5, 0.6, 0.7)
    ]
    table = compare_systems.make_table(
        {"panoptic_fpn": seeds},
        {"panoptic_fpn": ["1.85", "3.4", "1454", "120"]},
    )
    assert table[-1] == (
        "| Panoptic FPN | 60.0 (50.0 to 70.0) | 30.0 (25.0 to 35.0) | "
        "100.0 (100.0 to 100.0) | 1.85 | 3.4 | 1454 | 120 |"
    )
    assert len({line.count("|") for line in table}) == 1


@pytest.mark.parametrize("system", compare_systems.SYSTEMS)
def test_each_system_has_a_config_for_nuclei(system):
    _, name, override = compare_systems.SYSTEMS[system]
    found = config.load(
        f"nuclei/{name}", (override,) if override else (), environ={}
    )
    assert found.options.train_dataset_options.dataset == "nuclei"


@pytest.mark.parametrize("name", models.CONFIGS.values())
def test_each_measured_network_has_a_config(name):
    assert name in config.list_configs()


@pytest.mark.usefixtures("run_flags")
def test_runs_need_to_know_how_long_a_step_takes(tmp_path):
    with pytest.raises(errors.DataError, match="--stages=steps first"):
        compare_systems._train_seed("panoptic_fpn", "1", tmp_path)


@pytest.mark.usefixtures("run_flags")
def test_what_is_done_is_not_done_again(tmp_path):
    (tmp_path / "panoptic_fpn_1").mkdir()
    (tmp_path / "panoptic_fpn_1" / "done").write_text("3 steps\n")
    compare_systems._train_seed("panoptic_fpn", "1", tmp_path)
    (tmp_path / "panoptic_fpn_steps.json").write_text(
        json.dumps({"seconds": 1})
    )
    compare_systems._measure_steps("panoptic_fpn", tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
