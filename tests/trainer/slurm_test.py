# SPDX-License-Identifier: Apache-2.0
"""Workers as SLURM's variables describe them."""

import json

import pytest

from deeplab2_like import errors
from deeplab2_like.trainer import slurm


def _environment(**changes):
    values = {
        "SLURM_STEP_NUM_TASKS": "3",
        "SLURM_STEP_NODELIST": "n[09-10]",
        "SLURM_STEP_TASKS_PER_NODE": "2,1",
        "SLURM_PROCID": "2",
        "SLURM_JOB_ID": "40123",
    }
    values |= changes
    return {name: value for name, value in values.items() if value is not None}


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("a", ["a"]),
        ("a,b-1.x", ["a", "b-1.x"]),
        ("a[1-3,07],b", ["a1", "a2", "a3", "a07", "b"]),
        ("n[098-101]", ["n098", "n099", "n100", "n101"]),
        ("r[0-1]n[1-2]", ["r0n1", "r0n2", "r1n1", "r1n2"]),
        ("gpu[5]-ib", ["gpu5-ib"]),
    ],
)
def test_lists_of_machines_are_expanded_as_scontrol_does(text, hosts):
    assert list(slurm.expand_hosts(text)) == hosts


@pytest.mark.parametrize(
    "text", ["", "a[", "a[x]", "a]b", "a b", "a[1-]", "a[0-99999999]"]
)
def test_what_is_no_list_of_machines_is_refused(text):
    with pytest.raises(errors.ConfigError, match="srun"):
        list(slurm.expand_hosts(text))


def test_counts_are_expanded():
    assert list(slurm.expand_counts("2(x3),1")) == [2, 2, 2, 1]
    with pytest.raises(errors.ConfigError, match="TASKS_PER_NODE"):
        list(slurm.expand_counts("2x3"))


def test_each_task_of_a_step_has_its_address_and_its_index():
    environment = _environment()
    assert slurm.set_cluster(environment)
    found = json.loads(environment["TF_CONFIG"])
    port = 12_000 + 40123 % 20_000
    assert found["cluster"]["worker"] == [
        f"n09:{port}",
        f"n09:{port + 1}",
        f"n10:{port}",
    ]
    assert found["task"] == {"type": "worker", "index": 2}


@pytest.mark.parametrize("job", ["1", "19999", "4294967295"])
def test_ports_are_those_of_programs(job):
    text = slurm.describe_cluster(_environment(SLURM_JOB_ID=job))
    for address in json.loads(text)["cluster"]["worker"]:
        assert 12_000 <= int(address.rpartition(":")[2]) < 32_768


@pytest.mark.parametrize(
    "changes",
    [
        {"SLURM_STEP_NUM_TASKS": None},  # In a script of sbatch, without srun.
        {"SLURM_STEP_NUM_TASKS": "1"},
    ],
)
def test_one_task_trains_alone(changes):
    environment = _environment(**changes)
    assert not slurm.set_cluster(environment)
    assert "TF_CONFIG" not in environment


def test_what_the_user_has_set_stays():
    environment = _environment(TF_CONFIG="{}")
    assert not slurm.set_cluster(environment)
    assert environment["TF_CONFIG"] == "{}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"SLURM_PROCID": "3"}, "there are 3"),
        ({"SLURM_PROCID": "x"}, "no number"),
        ({"SLURM_JOB_ID": None}, "SLURM_JOB_ID is not set"),
        ({"SLURM_STEP_TASKS_PER_NODE": "3"}, "2 machines and .* has 1"),
        ({"SLURM_DISTRIBUTION": "cyclic"}, "--distribution=block"),
    ],
)
def test_what_describes_no_workers_is_refused(changes, message):
    with pytest.raises(errors.ConfigError, match=message) as caught:
        slurm.describe_cluster(_environment(**changes))
    assert "--nouse_slurm" in str(caught.value)
