# SPDX-License-Identifier: Apache-2.0
"""Images without labels that are also scored on are refused at the start."""

import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.console import progress
from deeplab2_like.protos import config_pb2, semi_supervised_pb2
from deeplab2_like.scenes import records as scenes_records
from deeplab2_like.scenes import scene
from deeplab2_like.trainer import unlabeled_checks

_METHODS = semi_supervised_pb2.SemiSupervisedOptions


@pytest.fixture(scope="module")
def val_records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    scenes_records.write_records(
        str(folder), "val", 2, size=(65, 129), num_shards=1
    )
    return f"{folder}/val-*"


def _make_options(pattern, evaluated, method=_METHODS.MEAN_TEACHER):
    options = config_pb2.ExperimentOptions()
    options.semi_supervised.method = method
    options.semi_supervised.unlabeled_pattern = str(pattern)
    options.eval_dataset_options.file_pattern.append(evaluated)
    return options


@pytest.fixture
def photos(tmp_path):
    """Returns a folder with the first image of evaluation, saved as TIFF."""
    seed = scene.compute_seed("val", 0, 0)
    folder = tmp_path / "photos"
    folder.mkdir()
    image = scene.make_scene(seed, (65, 129)).image
    Image.fromarray(image).save(folder / "0.tif")
    return folder


def test_an_image_is_refused_in_any_file_format(photos, val_records, tmp_path):
    options = _make_options(photos, val_records)
    with pytest.raises(errors.DataError, match=r"0\.tif.*is also in eval_"):
        unlabeled_checks.check_new_run(
            options, str(tmp_path / "run"), progress.Progress()
        )


def test_a_training_that_continues_is_not_checked(
    photos, val_records, tmp_path
):
    run = tmp_path / "run"
    run.mkdir()
    (run / "ckpt-1.index").touch()
    unlabeled_checks.check_new_run(
        _make_options(photos, val_records), str(run), progress.Progress()
    )


def test_without_consistency_or_evaluation_nothing_is_compared(
    photos, val_records, tmp_path
):
    for options in (
        _make_options(photos, val_records, _METHODS.NONE),
        _make_options(photos, ""),
    ):
        unlabeled_checks.check_new_run(
            options, str(tmp_path / "run"), progress.Progress()
        )
