# SPDX-License-Identifier: Apache-2.0
"""The distribution strategy, its shared files and its batch sizes."""

from typing import Any

import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.trainer import workers


def build_strategy(
    master: str = "", num_gpus: int = 0
) -> tf.distribute.Strategy:
    """Builds the distribution strategy for this machine.

    It is the first that applies: a TPU if `master` is given; several workers
    if the environment variable TF_CONFIG describes a cluster; several GPUs;
    one GPU; the CPU.

    Args:
        master: Address or name of a TPU ("local" on a TPU VM); "" for none.
        num_gpus: Number of GPUs of this machine to use, -1 for all.

    Raises:
        ConfigError: There are fewer GPUs than `num_gpus`, both a TPU and GPUs
            are given, TF_CONFIG is damaged, or TPU or workers cannot be
            reached.
    """
    if master and num_gpus > 0:
        raise errors.ConfigError(
            f"--master={master} asks for a TPU and --num_gpus={num_gpus} for "
            "GPUs. Give one of the two."
        )
    if master:
        return _build_tpu_strategy(master)
    cluster = workers.read_cluster()
    if cluster is not None:
        return _build_workers_strategy(cluster)
    available = len(tf.config.list_physical_devices("GPU"))
    wanted = available if num_gpus == -1 else num_gpus
    if wanted > available:
        raise errors.ConfigError(
            f"--num_gpus={num_gpus}, but TensorFlow sees {available} GPUs "
            "here. Give at most that number, or 0 for the CPU."
        )
    if wanted > 1:
        return tf.distribute.MirroredStrategy(
            [f"GPU:{index}" for index in range(wanted)]
        )
    return tf.distribute.OneDeviceStrategy("GPU:0" if wanted else "CPU:0")


def _build_workers_strategy(
    cluster: workers.Cluster,
) -> tf.distribute.MultiWorkerMirroredStrategy:
    own = cluster.workers[cluster.own]
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        reason = str(error).split("\n")[0][:200]
        raise errors.ConfigError(
            f"{own} cannot start ({reason}). Its address in TF_CONFIG has to "
            "be one of this machine, with a port that no other program uses."
        ) from error


def _build_tpu_strategy(master: str) -> tf.distribute.TPUStrategy:
    address = "" if master == "local" else master
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
            tpu=address or "local"
        )
        if address:
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        reason = str(error).split("\n")[0][:200]
        raise errors.ConfigError(
            f"--master={master}: no TPU could be reached ({reason}). On a TPU "
            "VM use --master=local."
        ) from error


def check_compilable(strategy: tf.distribute.Strategy) -> None:
    """Checks that XLA can compile the steps of the replicas.

    Raises:
        ConfigError: There are several replicas that are not all GPUs.
    """
    if strategy.num_replicas_in_sync == 1 or isinstance(
        strategy, tf.distribute.TPUStrategy
    ):
        return
    devices = strategy.extended.worker_devices
    if not all("GPU" in device.upper() for device in devices):
        raise errors.ConfigError(
            "trainer_options.compile_step is true, and TensorFlow compiles "
            f"steps of {strategy.num_replicas_in_sync} replicas on GPUs and "
            "TPUs only. Set it to false, or train with one replica."
        )


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether this process writes the shared files."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    if resolver.task_type == "chief":
        return True
    return resolver.task_type == "worker" and resolver.task_id == 0


def describe(strategy: tf.distribute.Strategy) -> dict[str, Any]:
    """Returns replicas and workers of a strategy, for the ledger."""
    resolver = strategy.cluster_resolver
    return {
        "worker": 0 if resolver is None else resolver.task_id or 0,
        "workers": workers.count_processes(strategy),
        "replicas": strategy.num_replicas_in_sync,
        "strategy": type(strategy).__name__,
    }


def choose_folder(strategy: tf.distribute.Strategy, model_dir: str) -> str:
    """Returns the folder for checkpoints and summaries of this process.

    Every worker saves and evaluates, but only the chief may write to the model
    folder itself; the others have a folder each in it.

    Args:
        strategy: The distribution strategy.
        model_dir: The model folder.
    """
    if is_chief(strategy):
        return model_dir
    return f"{model_dir}/worker_{strategy.cluster_resolver.task_id}"


def check_batch_size(
    field: str, batch_size: int, strategy: tf.distribute.Strategy
) -> None:
    """Checks that a global batch divides evenly among the replicas.

    Args:
        field: Name of the field of the batch size, for the message.
        batch_size: Size of the global batch.
        strategy: The strategy of the replicas.

    Raises:
        ConfigError: The size is not a multiple of the number of replicas.
    """
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        lower = batch_size // replicas * replicas
        near = [str(size) for size in (lower, lower + replicas) if size]
        raise errors.ConfigError(
            f"{field} is {batch_size}, which {replicas} replicas cannot share "
            f"evenly. Use {' or '.join(near)}."
        )


def check_pairs(
    field: str,
    batch_size: int,
    strategy: tf.distribute.Strategy,
    *,
    is_paired: bool,
) -> None:
    """Checks that no replica gets a half of a pair of images.

    Args:
        field: Name of the field of the batch size, for the message.
        batch_size: Size of the global batch, which replicas share evenly.
        strategy: The strategy of the replicas.
        is_paired: Whether images are paired.

    Raises:
        ConfigError: The images of a replica are paired and not even.
    """
    replicas = strategy.num_replicas_in_sync
    if is_paired and batch_size // replicas % 2:
        raise errors.ConfigError(
            f"{field} is {batch_size}, so that each of {replicas} replicas "
            f"gets {batch_size // replicas} images, and images are exchanged "
            f"in pairs. Use {batch_size + replicas}, or set "
            "cut_mix_probability to 0."
        )
