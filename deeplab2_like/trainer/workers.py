# SPDX-License-Identifier: Apache-2.0
"""The workers of a run on several machines: who they are and who is gone.

The environment variable TF_CONFIG lists them. All of them have to run the same
loops of steps, as each step waits for all; so they agree about where a run
starts and where it stops.
"""

import contextlib
import dataclasses
import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.config import network_addresses

_VARIABLE = "TF_CONFIG"
_EXAMPLE = (
    '{"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", '
    '"index": 0}}'
)
# Kinds of processes that train, the first in the order of TensorFlow.
_TRAINING_KINDS = ("chief", "worker")
# What TensorFlow's errors contain when a worker does not answer. In steps they
# are reported by operations between workers, else by the service that watches
# the workers, which runs in the first one.
_GONE = re.compile(
    r"Collective ops is aborted by|oordination ?[sS]ervice|"
    r"/job:(?:chief|worker)/[^ ]* (?:is not|heartbeat|has)|"
    r"Additional GRPC error information from remote target"
)
# A task that an error is about; what is followed by a device is the place of
# an operation.
_TASK = re.compile(r"/job:(\w+)/(?:replica:\d+/)?task:(\d+)(?!\d|/device)")
_PROBE_SECONDS = 2.0


@dataclasses.dataclass(frozen=True)
class Worker:
    """A process of the cluster.

    Attributes:
        kind: "chief" or "worker".
        index: Its number among those of its kind.
        address: "host:port".
    """

    kind: str
    index: int
    address: str

    def __str__(self) -> str:
        name = "The chief" if self.kind == "chief" else f"Worker {self.index}"
        return f"{name} ({self.address})"


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers of a run.

    Attributes:
        workers: All of them, the one that writes the shared files first.
        own: Place of this process in `workers`.
    """

    workers: list[Worker]
    own: int

    @property
    def others(self) -> list[Worker]:
        """The workers except this process."""
        return [w for i, w in enumerate(self.workers) if i != self.own]


def read_cluster() -> Cluster | None:
    """Reads TF_CONFIG.

    Returns:
        The cluster; None for one process without others.

    Raises:
        ConfigError: TF_CONFIG does not describe a cluster and the place of
            this process in it.
    """
    text = os.environ.get(_VARIABLE, "")
    if not text:
        return None
    try:
        config = json.loads(text)
        jobs = config.get("cluster") or {}
        task = config.get("task") or {}
        workers = [
            Worker(kind, index, address)
            for kind in _TRAINING_KINDS
            for index, address in enumerate(jobs.get(kind) or [])
        ]
        kind = task.get("type")
    except (ValueError, AttributeError, TypeError):
        raise _refuse(f"is not such JSON: {text[:80]!r}") from None
    _check_addresses(workers)
    if len(workers) < 2:
        return None
    if sum(worker.kind == "chief" for worker in workers) > 1:
        raise _refuse("lists more than one chief")
    if kind not in _TRAINING_KINDS:
        raise _refuse(
            f"has the task type {kind!r}, and only "
            f"{' and '.join(_TRAINING_KINDS)} take part in training"
        )
    return Cluster(workers, _find_own(workers, kind, task.get("index")))


def _find_own(workers: list[Worker], kind: str, index: Any) -> int:
    count = sum(worker.kind == kind for worker in workers)
    if not count:
        raise _refuse(f"has the task type {kind!r}, and no such address")
    for place, worker in enumerate(workers):
        if worker.kind == kind and str(worker.index) == str(index):
            return place
    raise _refuse(
        f"has the task index {index!r}, and the cluster has {count} of type "
        f"{kind!r}: 0 to {count - 1}"
    )


def _check_addresses(workers: list[Worker]) -> None:
    seen = set()
    for worker in workers:
        address = worker.address
        if network_addresses.split(str(address)) is None:
            raise _refuse(
                f"has the address {address!r}, and an address is "
                '"host:port" with a port of 1 to 65535'
            )
        if address in seen:
            raise _refuse(f"lists {address!r} twice")
        seen.add(address)


def _refuse(what: str) -> errors.ConfigError:
    return errors.ConfigError(
        f"The environment variable {_VARIABLE}, which describes the workers of "
        f"a run, {what}. Fix it, for example {_EXAMPLE}, or unset it to train "
        "on one machine."
    )


def describe_start(cluster: Cluster) -> str:
    """Returns a line that says which workers this one waits for."""
    addresses = ", ".join(worker.address for worker in cluster.others)
    return (
        f"{cluster.workers[cluster.own]} of {len(cluster.workers)} workers, "
        f"waiting for {addresses}. Start the same command there, if it does "
        "not run."
    )


def count_processes(strategy: tf.distribute.Strategy) -> int:
    """Returns the number of processes whose replicas a strategy has."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 1
    spec = strategy.cluster_resolver.cluster_spec().as_dict()
    return sum(len(spec.get(kind, [])) for kind in _TRAINING_KINDS) or 1


def agree_to_stop(
    strategy: tf.distribute.Strategy, wants_to_stop: bool
) -> bool:
    """Returns whether any worker wants to stop, the same for all of them.

    Every worker has to call it at the same places of the run; it waits for
    them. With one process it returns `wants_to_stop`.

    Args:
        strategy: The distribution strategy.
        wants_to_stop: Whether this process wants to.
    """
    if count_processes(strategy) == 1:
        return wants_to_stop
    return any(value for (value,) in _exchange(strategy, [int(wants_to_stop)]))


def wait_for_all(strategy: tf.distribute.Strategy) -> None:
    """Waits until every worker is here; see `agree_to_stop`."""
    agree_to_stop(strategy, False)


def check_same(
    strategy: tf.distribute.Strategy, numbers: Mapping[str, int]
) -> None:
    """Checks that all workers run the same loops.

    Args:
        strategy: The distribution strategy.
        numbers: What has to be equal, by its name in a sentence.

    Raises:
        ConfigError: A number of another worker differs.
    """
    if count_processes(strategy) == 1:
        return
    rows = _exchange(strategy, list(numbers.values()))
    for column, name in enumerate(numbers):
        values = [row[column] for row in rows]
        if len(set(values)) > 1:
            raise errors.ConfigError(
                f"The workers differ in {name}: {', '.join(map(str, values))}. "
                "Start all with the same config, and with a --model_dir that "
                "is one folder which all of them see."
            )


def _exchange(
    strategy: tf.distribute.Strategy, values: list[int]
) -> list[list[int]]:
    """Returns the values of all processes, in the same order for each.

    Args:
        strategy: The distribution strategy, of several workers.
        values: Integers of at most 53 bits.
    """
    replicas = strategy.num_replicas_in_sync
    own = strategy.extended.worker_devices  # Of this process.

    # A sum, as `gather` would be traced anew with each call. Each process adds
    # its values in the row of its first replica.
    def make_table(context: tf.distribute.ReplicaContext) -> tf.Tensor:
        table = np.zeros((replicas, len(values)), np.float64)
        place = context.replica_id_in_sync_group
        if place % len(own) == 0:
            table[place] = values
        return tf.constant(table)

    tables = strategy.experimental_distribute_values_from_function(make_table)
    table = strategy.reduce(tf.distribute.ReduceOp.SUM, tables, axis=None)
    return table.numpy()[:: len(own)].astype(int).tolist()


@contextlib.contextmanager
def translated_errors(
    cluster: Cluster | None, model_dir: str
) -> Iterator[None]:
    """Turns errors inside a block that mean that a worker is gone.

    Args:
        cluster: The workers; None for one process.
        model_dir: Folder of the run.

    Raises:
        WorkerError: A worker is gone.
    """
    try:
        yield
    except tf.errors.OpError as error:
        if cluster is None or not _GONE.search(str(error)):
            raise
        raise errors.WorkerError(
            _describe_gone(cluster, str(error), model_dir)
        ) from error


def _describe_gone(cluster: Cluster, text: str, model_dir: str) -> str:
    """Returns the sentences for an error of TensorFlow with a text."""
    named = {(kind, int(index)) for kind, index in _TASK.findall(text)}
    # Where one is gone the others end soon, too.
    gone = [
        worker
        for worker in cluster.others
        if (worker.kind, worker.index) in named
        or not _is_reachable(worker.address)
    ]
    names = " and ".join(map(str, gone)) or "Another worker"
    prefixes = checkpoint_files.list_checkpoints(model_dir)
    if prefixes:
        step = prefixes[-1].rpartition("-")[2]
        where = f"training continues from step {step}"
    else:
        where = "nothing was saved yet, so that training starts anew"
    return (
        f"{names} {'are' if len(gone) > 1 else 'is'} gone: ended, or not "
        "reached over the network; the output there may contain the reason. "
        f"Start all workers again with the same command; {where}."
    )


def _is_reachable(address: str) -> bool:
    """Returns whether something listens at an address."""
    try:
        network_addresses.connect(address, _PROBE_SECONDS)
    except OSError:
        return False
    return True
