# SPDX-License-Identifier: Apache-2.0
"""Training batches that the workers of a tf.data service prepare.

The service is started by `deeplab2-data-service`; its workers share the files
of the records among themselves, and all workers of a training take batches from
the same stream.
"""

import hashlib
import os

import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.config import network_addresses
from deeplab2_like.protos import config_pb2
from deeplab2_like.storage import any_files

PROTOCOL = "grpc"
_PROBE_SECONDS = 5.0
_SERVICE = tf.data.experimental.service


def check_reachable(address: str) -> None:
    """Checks that a dispatcher listens at an address.

    Args:
        address: "host:port".

    Raises:
        ConfigError: Nothing listens there.
    """
    try:
        network_addresses.connect(address, _PROBE_SECONDS)
    except OSError as error:
        raise errors.ConfigError(
            f"train_dataset_options.data_service_address is {address}, where "
            f"no dispatcher can be reached ({error.strerror or error}). Start "
            "`deeplab2-data-service --role=dispatcher` there and at least one "
            "worker, or leave the field empty to prepare batches here."
        ) from error


def name_job(
    model_dir: str,
    start_step: int,
    options: config_pb2.ExperimentOptions,
    num_replicas: int,
) -> str:
    """Returns the name of the stream of a start, the same for all workers.

    A dispatcher goes on with a stream of the same name, so that a start whose
    batches are others has another one.

    Args:
        model_dir: The model folder.
        start_step: The step that training starts from.
        options: The config, with its defaults.
        num_replicas: Number of replicas, over which batches are divided.
    """
    if not any_files.is_remote(model_dir):
        model_dir = os.path.abspath(model_dir)
    facts = (
        model_dir.rstrip("/").encode(),
        options.train_dataset_options.SerializeToString(deterministic=True),
        options.trainer_options.SerializeToString(deterministic=True),
        # Targets are those of the system.
        options.model_options.SerializeToString(deterministic=True),
        str(num_replicas).encode(),
    )
    digest = hashlib.sha256()
    for fact in facts:
        digest.update(hashlib.sha256(fact).digest())
    return f"train-{digest.hexdigest()[:16]}-{start_step}"


def share_input(
    context: tf.distribute.InputContext | None,
) -> tf.distribute.InputContext | None:
    """Returns the context of a pipeline that serves all others.

    Args:
        context: See `pipeline.make_training_dataset`.
    """
    if context is None:
        return None
    return tf.distribute.InputContext(
        num_input_pipelines=1,
        input_pipeline_id=0,
        num_replicas_in_sync=context.num_replicas_in_sync,
    )


def distribute(
    dataset: tf.data.Dataset, address: str, job: str
) -> tf.data.Dataset:
    """Lets a service make the batches of a data set.

    A file is read by one worker of the service in each epoch; what a worker had
    of its files is skipped when it is killed.

    Args:
        dataset: Endless data set of batches, without Python functions.
        address: "host:port" of the dispatcher.
        job: Name of the stream; who uses the same name shares its batches.
    """
    return dataset.apply(
        _SERVICE.distribute(
            processing_mode=_SERVICE.ShardingPolicy.DYNAMIC,
            service=f"{PROTOCOL}://{address}",
            job_name=job,
        )
    ).prefetch(tf.data.AUTOTUNE)
