# SPDX-License-Identifier: Apache-2.0
"""The model of training on many devices, and its tables."""

import dataclasses
import json

import pytest

from benchmarks import scaling_model, scaling_report
from deeplab2_like import errors

_WORK = scaling_model.Work(
    flops=1e12, bytes=1e11, gradient_bytes=4e8, batch_norms=50
)
_MACHINE = scaling_model.Machine(
    name="drawn",
    flops=1e14,
    bytes=1e12,
    share=0.5,
    per_host=4,
    link_bytes=1e11,
    group=4,
    network_bytes=1e10,
    latency=1e-6,
    network_latency=1e-5,
    cores=50,
)
_MANY = 1e9


def test_one_device_computes_and_exchanges_nothing():
    found = scaling_model.predict(_WORK, _MACHINE, 1, 2, _MANY)
    # 2 images: 2 * 1e11 bytes at half of 1e12 bytes a second.
    assert found.step == found.compute == pytest.approx(0.4)
    assert found.gradients == found.statistics == 0
    assert found.efficiency == 1
    assert found.limit == "device memory"


def test_operations_limit_where_they_take_longer():
    work = dataclasses.replace(_WORK, flops=2e13)
    found = scaling_model.predict(work, _MACHINE, 1, 1, _MANY)
    assert found.compute == pytest.approx(2e13 / 5e13)
    assert found.limit == "operations"


def test_a_ring_sends_nearly_twice_the_array_over_each_link():
    machine = dataclasses.replace(_MACHINE, latency=0.0)
    assert scaling_model.sum_seconds(4e8, 2, machine) == pytest.approx(4e-3)
    assert scaling_model.sum_seconds(4e8, 4, machine) == pytest.approx(6e-3)


def test_groups_exchange_the_part_of_each_device():
    machine = dataclasses.replace(_MACHINE, latency=0.0, network_latency=0.0)
    inside = scaling_model.sum_seconds(4e8, 4, machine)
    found = scaling_model.sum_seconds(4e8, 8, machine)
    assert found == pytest.approx(inside + 1e8 / 1e10)


def test_more_devices_are_never_more_efficient():
    found = [
        scaling_model.predict(_WORK, _MACHINE, devices, 1, _MANY).efficiency
        for devices in (1, 2, 4, 8, 16, 64, 512)
    ]
    assert found == sorted(found, reverse=True)
    assert all(0 < value <= 1 for value in found)


def test_slow_input_limits_until_enough_hosts_help():
    found = scaling_model.predict(_WORK, _MACHINE, 16, 1, 0.1)
    assert found.limit == "input"
    assert found.step == found.input == pytest.approx(16 / (4 * 50 * 0.1))
    assert found.input_hosts > 0
    # As fast as the devices with that number of hosts, slower with one less.
    busy = found.compute + found.gradients + found.statistics
    rate = 50 * 0.1
    assert 16 / ((4 + found.input_hosts) * rate) <= busy
    assert 16 / ((3 + found.input_hosts) * rate) > busy
    assert found.efficiency_with_hosts > found.efficiency


def test_enough_input_needs_no_more_hosts():
    found = scaling_model.predict(_WORK, _MACHINE, 16, 1, 1000.0)
    assert found.input_hosts == 0
    assert found.limit != "input"


def test_logical_devices_share_the_cores():
    assert scaling_model.predict_logical(0.5, 0.01, 1) == 0.5
    assert scaling_model.predict_logical(0.5, 0.01, 2) == pytest.approx(1.04)


def test_the_table_has_a_row_for_each_number_of_devices():
    for machine, _ in scaling_report.make_machines(0.5):
        text = scaling_report.make_table(_WORK, machine, (4, 8), 2, 1.0)
        rows = text.splitlines()
        assert len(rows) == 4
        assert len({row.count("|") for row in rows}) == 1
        assert rows[2].startswith("| 4 | 8 | ")
        assert "No exchange is hidden" in scaling_report.describe_assumptions(
            machine
        )


def test_compiled_steps_are_read(tmp_path):
    file = tmp_path / "compiled.jsonl"
    rows = [
        {"backbone": "a", "function": "network", "gflop": 1, "gigabytes": 1},
        {
            "backbone": "a",
            "function": "training_step",
            "gflop": 3,
            "gigabytes": 2,
        },
    ]
    file.write_text("\n".join(map(json.dumps, rows)))
    assert scaling_report.load_compiled(str(file)) == {"a": (3e9, 2e9)}
    file.write_text(json.dumps(rows[0]))
    with pytest.raises(errors.DataError, match="no training_step"):
        scaling_report.load_compiled(str(file))
    with pytest.raises(errors.DataError, match=r"no file of tpu_compile\.py"):
        scaling_report.load_compiled(str(tmp_path / "nothing"))
