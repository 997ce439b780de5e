# SPDX-License-Identifier: Apache-2.0
"""Runs a function on the batches of a data set, as many as there are replicas.

The replicas share no computation in evaluation, so each gets a whole batch,
whose size may differ from the others'. Of several workers each runs all batches
on its own replicas, without the others.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

Batch = Mapping[str, Any]
Outputs = Mapping[str, Any]

# What the function gets of a batch.
_INPUTS = ("image", "valid_size", "targets")


class ReplicaBatches:
    """A function that the replicas of a strategy run, each on a batch."""

    def __init__(
        self,
        function: Callable[[Batch], Any],
        strategy: tf.distribute.Strategy,
    ):
        """Stores the function; traces it at the first batch.

        Args:
            function: Function from "image", "valid_size" and "targets" of a
                batch to a structure of tensors.
            strategy: The distribution strategy.
        """
        self._strategy = strategy
        self._run = tf.function(
            lambda inputs: strategy.run(function, args=(inputs,)),
            autograph=False,
        )

    def run(self, dataset: tf.data.Dataset) -> Iterator[tuple[Batch, Outputs]]:
        """Runs the function on all batches.

        Args:
            dataset: Batches of `data.pipeline.make_evaluation_dataset`.

        Yields:
            Each batch, and what the function returned for it, as NumPy arrays.
        """
        replicas = len(self._strategy.extended.worker_devices)
        group: list[Batch] = []
        for batch in dataset:
            group.append(batch)
            if len(group) == replicas:
                yield from self._run_group(group)
                group = []
        if group:
            yield from self._run_group(group)

    def _run_group(
        self, group: Sequence[Batch]
    ) -> Iterator[tuple[Batch, Outputs]]:
        inputs = [{key: batch[key] for key in _INPUTS} for batch in group]
        replicas = len(self._strategy.extended.worker_devices)
        if replicas == 1:
            outputs = [self._run(inputs[0])]
        else:
            # The last group may be short; then its last batch is repeated.
            inputs += [inputs[-1]] * (replicas - len(inputs))
            shared = (
                self._strategy.experimental_distribute_values_from_function(
                    lambda context: inputs[
                        context.replica_id_in_sync_group % replicas
                    ]
                )
            )
            together = self._run(shared)
            outputs = [
                tf.nest.map_structure(
                    lambda x, i=index: (
                        self._strategy.experimental_local_results(x)[i]
                    ),
                    together,
                )
                for index in range(len(group))
            ]
        for batch, output in zip(group, outputs, strict=True):
            yield (
                tf.nest.map_structure(lambda x: x.numpy(), dict(batch)),
                tf.nest.map_structure(lambda x: x.numpy(), output),
            )
