# SPDX-License-Identifier: Apache-2.0
"""The workers of a run that SLURM's `srun` starts; needs no TensorFlow.

`srun` sets the same variables in each task of a step, and its number. They
become TF_CONFIG, which the rest of the package and TensorFlow read. TensorFlow
has `SlurmClusterResolver`, which reads variables of the job in place of those
of the step, so that a step with fewer tasks waits for ever, and it hands out
GPUs by itself.
"""

import os
import re
from collections.abc import Iterator, Mapping, MutableMapping

from deeplab2_like import errors
from deeplab2_like.storage import json_files

CLUSTER_VARIABLE = "TF_CONFIG"

# Ports below are those of services, those from 32768 on of outgoing
# connections.
_FIRST_PORT = 12_000
_PORTS = 20_000
_NEEDED = (
    "SLURM_STEP_NODELIST",
    "SLURM_STEP_TASKS_PER_NODE",
    "SLURM_PROCID",
    "SLURM_JOB_ID",
)
_MOST_HOSTS = 100_000


def describe_cluster(environment: Mapping[str, str]) -> str | None:
    """Returns the TF_CONFIG of a task of `srun`.

    Args:
        environment: Variables of the process.

    Returns:
        JSON; None outside of `srun` and for a step of one task.

    Raises:
        ConfigError: The variables do not describe the tasks.
    """
    if environment.get("SLURM_STEP_NUM_TASKS", "1") in ("", "1"):
        return None
    missing = [name for name in _NEEDED if not environment.get(name)]
    if missing:
        raise _refuse(f"{missing[0]} is not set")
    nodes, tasks, place, job = (environment[name] for name in _NEEDED)
    hosts = list(expand_hosts(nodes))
    counts = list(expand_counts(tasks))
    if len(hosts) != len(counts):
        raise _refuse(
            f"SLURM_STEP_NODELIST={nodes} has {len(hosts)} machines and "
            f"SLURM_STEP_TASKS_PER_NODE={tasks} has {len(counts)}"
        )
    distribution = environment.get("SLURM_DISTRIBUTION", "block")
    if len(hosts) > 1 and not distribution.startswith("block"):
        raise _refuse(
            f"tasks are distributed as {distribution!r}; start srun with "
            "--distribution=block"
        )
    if not (place.isdecimal() and job.isdecimal()):
        raise _refuse(
            f"SLURM_PROCID={place} or SLURM_JOB_ID={job} is no number"
        )
    port = _FIRST_PORT + int(job) % _PORTS
    addresses = [
        f"{host}:{port + number}"
        for host, count in zip(hosts, counts, strict=True)
        for number in range(count)
    ]
    if int(place) >= len(addresses):
        raise _refuse(f"SLURM_PROCID={place}, and there are {len(addresses)}")
    task = {"type": "worker", "index": int(place)}
    return json_files.to_line({"cluster": {"worker": addresses}, "task": task})


def set_cluster(environment: MutableMapping[str, str] = os.environ) -> bool:
    """Sets TF_CONFIG in a task of `srun`, unless it is set.

    Args:
        environment: Variables of the process.

    Returns:
        Whether it was set.

    Raises:
        ConfigError: See `describe_cluster`.
    """
    if environment.get(CLUSTER_VARIABLE):
        return False
    text = describe_cluster(environment)
    if text is None:
        return False
    environment[CLUSTER_VARIABLE] = text
    return True


def expand_hosts(text: str) -> Iterator[str]:
    """Lists the names of a list of machines as SLURM writes it.

    Args:
        text: Such as "a[1-3,07],b" or "rack[0-1]node[01-02]".

    Yields:
        The names in their order: "a1", "a2", "a3", "a07", "b".

    Raises:
        ConfigError: It is not of that form.
    """
    count = 0
    for part in _split(text):
        for host in _expand_brackets(part, text):
            count += 1
            if count > _MOST_HOSTS:
                raise _refuse(f"the list {text[:80]} has too many machines")
            yield host


def _split(text: str) -> list[str]:
    """Splits at the commas outside of brackets."""
    parts = re.findall(r"(?:\[[^\]]*\]|[^,\[\]])+", text)
    if ",".join(parts) != text:
        raise _refuse(f"{text[:80]!r} is no list of machines")
    return parts or [text]


def _expand_brackets(part: str, text: str) -> Iterator[str]:
    match = re.fullmatch(r"([^\[\]]*)\[([^\[\]]+)\](.*)", part)
    if match is None:
        if not re.fullmatch(r"[\w.-]+", part):
            raise _refuse(f"{text[:80]!r} is no list of machines")
        yield part
        return
    before, ranges, after = match.groups()
    for piece in ranges.split(","):
        bounds = re.fullmatch(r"(\d+)(?:-(\d+))?", piece)
        if bounds is None:
            raise _refuse(f"{text[:80]!r} is no list of machines")
        first, last = bounds[1], bounds[2] or bounds[1]
        if int(last) - int(first) > _MOST_HOSTS:
            raise _refuse(f"the list {text[:80]} has too many machines")
        for number in range(int(first), int(last) + 1):
            name = f"{before}{number:0{len(first)}d}{after}"
            yield from _expand_brackets(name, text)


def expand_counts(text: str) -> Iterator[int]:
    """Lists the numbers of tasks of each machine.

    Args:
        text: Such as "2(x3),1", which is 2, 2, 2, 1.

    Raises:
        ConfigError: It is not of that form.
    """
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part.strip())
        if match is None or int(match[2] or 1) > _MOST_HOSTS:
            raise _refuse(f"SLURM_STEP_TASKS_PER_NODE={text[:80]} is not known")
        yield from [int(match[1])] * int(match[2] or 1)


def _refuse(what: str) -> errors.ConfigError:
    return errors.ConfigError(
        "This is a task of srun, and the variables of SLURM do not describe "
        f"the workers: {what}. Set the environment variable "
        f"{CLUSTER_VARIABLE} by yourself (docs/scaling.md), or give "
        "--nouse_slurm to train in this process alone."
    )
