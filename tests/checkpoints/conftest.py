# SPDX-License-Identifier: Apache-2.0
"""The checkpoint of a tiny run, in both layouts."""

import pytest

# Tests of foreign files run without TensorFlow, so that fixtures import it.


@pytest.fixture(scope="module")
def config(tiny_run):
    from deeplab2_like.config import run_config

    return run_config.load_checked(str(tiny_run))


@pytest.fixture(scope="module")
def in_deeplab2(tiny_run, config, tmp_path_factory):
    """The run's checkpoint in deeplab2's layout: its prefix."""
    from deeplab2_like.checkpoints import conversion

    folder = tmp_path_factory.mktemp("deeplab2")
    return conversion.convert(
        config, str(tiny_run), f"{folder}/ckpt-7", layout="deeplab2"
    ).prefix
