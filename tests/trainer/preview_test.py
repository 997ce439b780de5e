# SPDX-License-Identifier: Apache-2.0
"""Pictures of training crops, and the program that draws them."""

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import config as config_lib
from deeplab2_like import errors
from deeplab2_like.console import progress
from deeplab2_like.data import build, pipeline
from deeplab2_like.labels import descriptor
from deeplab2_like.trainer import main, preview


def load_pictures(folder):
    return {
        path.name: np.asarray(Image.open(path)) for path in folder.iterdir()
    }


def test_the_first_crops_of_the_training_are_drawn(config_file, tmp_path):
    config = config_lib.load(str(config_file))
    folder = tmp_path / "new" / "preview"
    written = preview.preview(config, folder, 3)
    names = ["crop_01.png", "crop_02.png", "crop_03.png", "sheet.png"]
    assert [path.name for path in written] == names
    first = load_pictures(folder)
    assert sorted(first) == names
    # Fewer crops replace them all, and are the same.
    preview.preview(config, folder, 1)
    second = load_pictures(folder)
    assert sorted(second) == ["crop_01.png", "sheet.png"]
    np.testing.assert_array_equal(second["crop_01.png"], first["crop_01.png"])
    assert not (tmp_path / "new" / "config.textproto").exists()


def test_an_address_gets_no_pictures(config_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    config = config_lib.load(str(config_file))
    with pytest.raises(errors.ConfigError, match="gs://bucket/run/preview is"):
        preview.preview(config, "gs://bucket/run/preview", 1)
    main._FLAGS(["", "--model_dir=gs://bucket/run", "--preview=1"])
    with pytest.raises(errors.ConfigError, match="gs://bucket/run/preview is"):
        main._preview(config)
    main._FLAGS.unparse_flags()
    assert set(tmp_path.rglob("*")) == before


def test_crops_are_those_of_training(config_file):
    config = config_lib.load(
        str(config_file),
        [
            "train_dataset_options { augmentations { rotation { "
            "max_degrees: 10 } blur { probability: 0.5 } } }"
        ],
    )
    crops = preview.make_crops(config, 4, progress.Progress())
    options = config.options.train_dataset_options
    data = build.build_training_dataset(
        options,
        descriptor.load(options.dataset),
        lambda panoptic: {"label": panoptic},
        pipeline.Reading(
            seed=config.options.trainer_options.seed, deterministic=True
        ),
    )
    batches = list(data.take(2).as_numpy_iterator())
    images = np.concatenate([batch["image"] for batch in batches])
    labels = np.concatenate([batch["targets"]["label"] for batch in batches])
    for number, crop in enumerate(crops):
        np.testing.assert_array_equal(crop.image, np.rint(images[number]))
        np.testing.assert_array_equal(crop.panoptic, labels[number])
        assert crop.targets["center_heatmap"].shape == crop.panoptic.shape


def test_folders_with_other_files_are_refused(tmp_path):
    (tmp_path / "mine.png").write_bytes(b"x")
    with pytest.raises(errors.ConfigError, match=r"\(mine.png\). Give another"):
        preview.check_folder(tmp_path)
    assert preview.check_folder(tmp_path / "none") == []
    with pytest.raises(errors.ConfigError, match="is a file"):
        preview.check_folder(tmp_path / "mine.png")
    Image.new("RGB", (2, 2)).save(tmp_path / "mine.png")
    with pytest.raises(errors.ConfigError, match="no preview wrote"):
        preview.check_folder(tmp_path)


@pytest.mark.parametrize("count", [-1, 1001])
def test_numbers_of_crops_have_a_range(config_file, tmp_path, count):
    config = config_lib.load(str(config_file))
    with pytest.raises(errors.ConfigError, match=r"in \[1, 1000\]"):
        preview.preview(config, tmp_path / "out", count)


def test_missing_records_are_a_sentence(config_file, tmp_path):
    config = config_lib.load(
        str(config_file),
        ["train_dataset_options { file_pattern: '/nowhere/a-*' }"],
    )
    with pytest.raises(errors.DataError, match="/nowhere/a-"):
        preview.preview(config, tmp_path / "out", 1)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def run_main():
    """Returns a function that calls the program with its flags."""

    def run(*arguments):
        main._FLAGS.unparse_flags()
        for name in main._FLAGS:
            main._FLAGS[name].unparse()
        rest = main._FLAGS(["deeplab2-train", *map(str, arguments)])
        main._main(rest[1:])

    return run


def test_the_program_draws_and_trains_nothing(
    config_file, tmp_path, run_main, capsys
):
    run_main(
        f"--config_file={config_file}",
        f"--model_dir={tmp_path}/run",
        "--preview=1",
    )
    folder = tmp_path / "run" / "preview"
    assert sorted(load_pictures(folder)) == ["crop_01.png", "sheet.png"]
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["preview"]
    said = capsys.readouterr().out
    assert said == f"Crops drawn: 1. All of them small: {folder}/sheet.png\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preview=2"], "--model_dir is missing"),
        (["--out=x"], "--out is the folder of the pictures of --preview"),
        (["--preview=2", "--out=x", "--mode=eval"], "not of --mode=eval"),
        (["--preview=2000", "--out=x"], "--preview=2000 must be"),
    ],
)
def test_wrong_flags_are_sentences(config_file, run_main, arguments, message):
    with pytest.raises(errors.ConfigError, match=message):
        run_main(f"--config_file={config_file}", *arguments)
