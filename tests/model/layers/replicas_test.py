# SPDX-License-Identifier: Apache-2.0
"""Layers whose training depends on the other replicas."""

import numpy as np
import pytest

_PROGRAM = """
import numpy as np
from deeplab2_like.model.layers.batch_norm import BatchNorm
from deeplab2_like.model.layers.dropout import Dropout

x = np.random.default_rng(0).normal(1.0, 2.0, (4, 3, 5, 2)).astype("float32")

def run(strategy):
    with strategy.scope():
        norm = BatchNorm(True, momentum=0.5, name="bn")
        norm.build(x.shape)
        dropout = Dropout(0.5, seed=1, name="dropout")
        dropout.build(x.shape)

    @tf.function
    def step(x):
        def replica():
            context = tf.distribute.get_replica_context()
            size = 4 // strategy.num_replicas_in_sync
            mine = x[context.replica_id_in_sync_group * size:][:size]
            return (norm(mine, training=True),
                    dropout(tf.ones((1, 50, 1, 1)), training=True))
        return strategy.run(replica)

    y, mask = (strategy.experimental_local_results(r) for r in step(x))
    return {
        "y": np.concatenate([v.numpy() for v in y]).tolist(),
        "mean": norm.moving_mean.numpy().tolist(),
        "variance": norm.moving_variance.numpy().tolist(),
        "masks": [m.numpy().tolist() for m in mask],
    }

print(json.dumps([
    run(tf.distribute.OneDeviceStrategy("CPU:0")),
    run(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])),
]))
"""


@pytest.fixture(scope="module")
def runs(run_on_two_devices):
    return run_on_two_devices(_PROGRAM)


@pytest.mark.parametrize("name", ["y", "mean", "variance"])
def test_synchronised_statistics_are_those_of_the_whole_batch(runs, name):
    one, two = runs
    np.testing.assert_allclose(two[name], one[name], atol=1e-5)


def test_replicas_drop_different_values(runs):
    masks = runs[1]["masks"]
    assert masks[0] != masks[1]
    assert masks[0] == runs[0]["masks"][0]
