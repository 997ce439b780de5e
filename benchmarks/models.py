# SPDX-License-Identifier: Apache-2.0
"""The networks that are measured: those of the Cityscapes configs.

Their weights are random, as times do not depend on them.
"""

import keras

from deeplab2_like import config as config_lib
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.meta_architectures import build as system_build
from deeplab2_like.meta_architectures import contract

_FOLDER = "cityscapes/panoptic_deeplab"
CONFIGS = {
    "resnet50": f"{_FOLDER}/resnet50_os32_merge_with_pure_tf_func",
    "mobilenet_v3_large": f"{_FOLDER}/mobilenet_v3_large_os32",
    "mobilenet_v3_small": f"{_FOLDER}/mobilenet_v3_small_os32",
    "panoptic_fpn_resnet50": "cityscapes/panoptic_fpn/resnet50",
    "efficientps": "cityscapes/efficientps/efficientnet_b5",
    "efficientps_solov2": "cityscapes/efficientps/efficientnet_b5_solov2",
}
# With random weights no peak is as high as a trained network's.
_OVERRIDES = ("evaluator_options { center_score_threshold: 0 }",)


def load_config(
    backbone: str, overrides: tuple[str, ...] = ()
) -> config_lib.Config:
    """Loads the config of a network.

    Args:
        backbone: A key of `CONFIGS`.
        overrides: Further overrides of the config, as text.
    """
    return config_lib.load(CONFIGS[backbone], (*_OVERRIDES, *overrides))


def build(
    config: config_lib.Config,
) -> tuple[contract.MetaArchitecture, keras.Model]:
    """Builds the system of a config and its network with random weights."""
    options = config.options
    keras.utils.set_random_seed(0)
    system = system_build.build_system(
        options, descriptor_lib.load(options.train_dataset_options.dataset)
    )
    with system_build.compute_precision(options.trainer_options):
        model = system.build_model(synchronize_batch_norm=False)
    _train_a_little(model)
    return system, model


def _train_a_little(model: keras.Model) -> None:
    """Draws weights and statistics of batch norms, so that none is identity."""
    generator = keras.random.SeedGenerator(1)
    ranges = {
        "gamma": (0.5, 1.5),
        "beta": (-0.2, 0.2),
        "moving_mean": (-0.2, 0.2),
        "moving_variance": (0.5, 1.5),
    }
    for variable in model.variables:
        low_high = ranges.get(variable.path.rpartition("/")[2])
        if low_high is not None:
            values = keras.random.uniform(
                variable.shape, *low_high, seed=generator
            )
            variable.assign(values)
