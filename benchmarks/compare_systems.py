# SPDX-License-Identifier: Apache-2.0
r"""Trains the four systems on the same data for the same time, several seeds.

    TRAIN_SET='nuclei/train-*' VAL_SET='nuclei/val-*' \
        python benchmarks/compare_systems.py --work=FOLDER

Four stages, each resumed where it was left; `--stages` names those to do:

* steps: measures a step of each system, all work of the trainer included;
  `--minutes` divided by it is the number of steps of a run.
* train: each system with each seed, `train_and_eval` with the trainer.
* times: measures how long an exported model takes for an image.
* table: prints the results so far as a Markdown table.

The stages steps and times measure time and need a machine that does nothing
else; training does not, as its number of steps is fixed.
"""

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from absl import flags

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from deeplab2_like import config as config_lib  # noqa: E402
from deeplab2_like import errors  # noqa: E402
from deeplab2_like.console import path_flags, program  # noqa: E402
from deeplab2_like.storage import json_files  # noqa: E402

_STAGES = ("steps", "train", "times", "table")
_SOFT_QUALITY = (
    "trainer_options { loss_options { soft_panoptic_quality_loss {"
    " name: 'soft_panoptic_quality' weight: 0.25 } } }"
)
# Name -> (title, config without its data set, override).
SYSTEMS = {
    "panoptic_deeplab": (
        "Panoptic-DeepLab",
        "panoptic_deeplab_mobilenet_v3_small_os16",
        "",
    ),
    "panoptic_fpn": ("Panoptic FPN", "panoptic_fpn_mobilenet_v3_small", ""),
    "panoptic_fpn_soft_quality": (
        "Panoptic FPN with the soft panoptic quality",
        "panoptic_fpn_mobilenet_v3_small",
        _SOFT_QUALITY,
    ),
    "efficientps_mask_rcnn": (
        "EfficientPS, Mask R-CNN",
        "efficientps_mobilenet_v3_small",
        "",
    ),
    "efficientps_solov2": (
        "EfficientPS, SOLOv2",
        "efficientps_solov2_mobilenet_v3_small",
        "",
    ),
}
# An ablation of a system is trained for as many steps as the system.
_STEPS_OF = {"panoptic_fpn_soft_quality": "panoptic_fpn"}
_SCORES = ("PQ", "PQ_things", "PQ_stuff")

_WORK = path_flags.define(
    "work", None, "Folder of the runs. Required.", holds_checkpoint=True
)
_DATA = flags.DEFINE_string("data", "nuclei", "Data set: a folder of configs/.")
_SYSTEMS = flags.DEFINE_list("systems", list(SYSTEMS), "Systems to compare.")
_SEEDS = flags.DEFINE_list("seeds", ["1", "2", "3"], "Seeds of the runs.")
_MINUTES = flags.DEFINE_float(
    "minutes", 10.0, "Minutes of training in each run.", lower_bound=0.01
)
_STAGE_LIST = flags.DEFINE_list("stages", list(_STAGES), "Stages to run.")
_MEASURED_STEPS = flags.DEFINE_integer(
    "measured_steps",
    100,
    "Steps that are timed, after half as many untimed ones.",
    lower_bound=2,
)
_IMAGE_SIZE = flags.DEFINE_list(
    "image_size", ["256", "256"], "Height and width of the timed image."
)


def _config_name(system: str) -> str:
    return f"{_DATA.value}/{SYSTEMS[system][1]}"


def _load(path: pathlib.Path) -> Any:
    if not path.exists():
        return None
    return json.loads(path.read_text(encoding="utf-8"))


def _save(path: pathlib.Path, value: Any) -> None:
    json_files.write_json(path, value)


def _train(
    system: str, folder: pathlib.Path, steps: int, seed: str, mode: str
) -> None:
    """Runs the trainer in a process of its own; its log is in `folder`.

    Raises:
        UserError: The trainer failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    overrides = [
        SYSTEMS[system][2],
        f"trainer_options {{ seed: {seed} solver_options {{"
        f" training_number_of_steps: {steps} }} }}"
        f" evaluator_options {{ eval_interval: {steps} }}",
    ]
    if mode == "train":
        # In some configs the warm-up is longer than the timed steps.
        overrides.append(
            "trainer_options { solver_options { warmup_steps: 0 } }"
        )
    command = [
        sys.executable,
        "trainer/main.py",
        f"--mode={mode}",
        f"--model_dir={folder.absolute()}",
        f"--config_file={_config_name(system)}",
        *(f"--config_override={text}" for text in overrides if text),
    ]
    with open(folder / "log.txt", "a", encoding="utf-8") as log:
        done = subprocess.run(
            command, cwd=sys.path[0], stdout=log, stderr=log, check=False
        )
    if done.returncode:
        raise errors.UserError(
            f"The trainer failed with code {done.returncode}: see {log.name}. "
            "The same command continues."
        )


def _measure_steps(system: str, work: pathlib.Path) -> None:
    """Finds how many seconds a step takes, and writes it to a file."""
    path = work / f"{system}_steps.json"
    if path.exists() or system in _STEPS_OF:
        return
    number = _MEASURED_STEPS.value
    folder = work / f"{system}_steps"
    # A run that was interrupted and continued cannot be timed.
    shutil.rmtree(folder, ignore_errors=True)
    _train(system, folder, number + number // 2, "1", "train")
    times = dict(_read_loop_times(folder / "train"))
    first = min((x for x in times if x >= number // 2), default=0)
    last = max(times, default=0)
    if first >= last:
        raise errors.ConfigError(
            f"--measured_steps={number} is less than a loop of {system} "
            "(trainer_options.steps_per_loop). Measure more steps."
        )
    seconds = (times[last] - times[first]) / (last - first)
    _save(path, {"seconds": seconds})
    print(f"{system}: {seconds:.3f} s a step", flush=True)


def _read_loop_times(folder: pathlib.Path) -> Iterator[tuple[int, float]]:
    """Reads when the loops of a run ended, from its summaries."""
    import tensorflow as tf

    for file in folder.glob("events*"):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            if event.summary.value:
                yield event.step, event.wall_time


def _train_seed(system: str, seed: str, work: pathlib.Path) -> None:
    folder = work / f"{system}_{seed}"
    if (folder / "done").exists():
        return
    measured_of = _STEPS_OF.get(system, system)
    measured = _load(work / f"{measured_of}_steps.json")
    if measured is None:
        raise errors.DataError(
            f"{work} has no measured step of {measured_of}. Run --stages=steps "
            "first."
        )
    steps = round(60 * _MINUTES.value / measured["seconds"])
    start = time.perf_counter()
    _train(system, folder, steps, seed, "train_and_eval")
    minutes = (time.perf_counter() - start) / 60
    (folder / "done").write_text(f"{steps} steps\n", encoding="utf-8")
    scores = _read_scores(folder)
    shown = ", ".join(f"{key} {100 * scores[key]:.1f}" for key in _SCORES)
    print(
        f"{system}, seed {seed}: {shown}; {steps} steps, {minutes:.1f} minutes",
        flush=True,
    )


def _read_scores(folder: pathlib.Path) -> dict[str, float]:
    summaries = _load(folder / "eval" / "metrics.json")["summaries"]
    return {key: summaries[f"evaluation/pq/{key}"] for key in _SCORES}


def _measure_time(system: str, work: pathlib.Path) -> None:
    """Exports the run of the first seed and times it on an image."""
    path = work / f"{system}_times.json"
    run = work / f"{system}_{_SEEDS.value[0]}"
    if path.exists() or not (run / "done").exists():
        return
    saved = work / f"{system}_saved"
    command = [
        sys.executable,
        "-c",
        "from deeplab2_like.exports import main; main.cli()",
        f"--model_dir={run.absolute()}",
        f"--out={saved.absolute()}",
        "--overwrite",
    ]
    subprocess.run(command, cwd=sys.path[0], check=True)
    _save(path, {"ms": _time_images(saved)})


def _time_images(saved: pathlib.Path) -> float:
    """Returns the median of the milliseconds that an image takes."""
    from benchmarks import measuring
    from deeplab2_like import predict
    from deeplab2_like.data.records import paths as record_paths

    pattern = os.environ.get("VAL_SET", "")
    if not pattern:
        raise errors.DataError(
            "VAL_SET is missing in the environment. Set it as for the training."
        )
    files = record_paths.find_files(pattern)
    wanted = tuple(int(side) for side in _IMAGE_SIZE.value)
    image = _find_image(files, wanted)
    predictor = predict.Predictor.from_saved_model(saved)
    found = measuring.measure("image", lambda: predictor.predict_maps(image))
    return found.wall_ms


def _find_image(files: Sequence[str], size: tuple[int, ...]) -> Any:
    """Finds the first image of a size in record files: uint8 [H, W, 3]."""
    import tensorflow as tf

    feature = tf.io.FixedLenFeature([], tf.string)
    for record in tf.data.TFRecordDataset(files):
        example = tf.io.parse_single_example(record, {"image/encoded": feature})
        image = tf.io.decode_image(example["image/encoded"], channels=3)
        if tuple(image.shape[:2]) == size:
            return image.numpy()
    raise errors.DataError(
        f"No image of VAL_SET has {size[0]}x{size[1]} pixels. Give the size of "
        "one by --image_size=height,width."
    )


def make_table(
    scores: Mapping[str, Sequence[Mapping[str, float]]],
    costs: Mapping[str, Sequence[str]],
) -> list[str]:
    """Makes the Markdown table.

    Args:
        scores: The scores of the seeds of each system, in 0..1.
        costs: The parameters, multiply-adds, steps and milliseconds an image
            of each system, as text.

    Returns:
        The lines of the table.
    """
    lines = [
        "| | PQ | things | stuff | parameters, M | multiply-adds, G | steps |"
        " ms an image |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for system, seeds in scores.items():
        cells = [SYSTEMS[system][0]]
        for key in _SCORES:
            values = [100 * seed[key] for seed in seeds]
            cells.append(
                f"{statistics.mean(values):.1f} ({min(values):.1f} to "
                f"{max(values):.1f})"
            )
        lines.append(f"| {' | '.join([*cells, *costs[system]])} |")
    return lines


def _print_table(systems: Sequence[str], work: pathlib.Path) -> None:
    scores: dict[str, list[dict[str, float]]] = {}
    costs: dict[str, list[str]] = {}
    for system in systems:
        runs = [work / f"{system}_{seed}" for seed in _SEEDS.value]
        runs = [run for run in runs if (run / "done").exists()]
        if not runs:
            continue
        scores[system] = [_read_scores(run) for run in runs]
        measured = _load(work / f"{system}_times.json")
        costs[system] = [
            *_describe_network(system),
            (runs[0] / "done").read_text(encoding="utf-8").split()[0],
            "" if measured is None else f"{measured['ms']:.0f}",
        ]
    print("\n".join(make_table(scores, costs)))


def _describe_network(system: str) -> tuple[str, str]:
    """Returns millions of parameters and billions of multiply-adds."""
    from deeplab2_like.labels import descriptor
    from deeplab2_like.meta_architectures import build
    from deeplab2_like.model import complexity

    options = config_lib.load(_config_name(system)).options
    dataset = descriptor.load(options.train_dataset_options.dataset)
    built = build.build_system(options, dataset)
    found = complexity.compute_complexity(
        lambda: built.build_model(synchronize_batch_norm=False),
        _find_network_size(options.eval_dataset_options),
    )
    return (
        f"{found.num_parameters / 1e6:.2f}",
        f"{found.multiply_adds / 1e9:.1f}",
    )


def _find_network_size(options: Any) -> list[int]:
    """Returns the size of the network's input for an image of --image_size."""
    import tensorflow as tf

    from deeplab2_like.data import build, preprocessing

    shape = [int(side) for side in _IMAGE_SIZE.value]
    _, _, size = preprocessing.make_evaluation_canvas(
        tf.zeros([*shape, 3], tf.uint8),
        tf.zeros(shape, tf.int32),
        build.build_preprocessing(options),
        0,
    )
    return size.numpy().tolist()


def _main(arguments: Sequence[str]) -> None:
    if arguments:
        raise errors.ConfigError(
            f"Unexpected argument {arguments[0]!r}: see --help."
        )
    for flag, known in ((_SYSTEMS, SYSTEMS), (_STAGE_LIST, _STAGES)):
        for name in flag.value:
            if name not in known:
                raise errors.ConfigError(
                    f"--{flag.name} has {name!r} - known are "
                    f"{', '.join(known)}."
                )
    if len(_IMAGE_SIZE.value) != 2 or not all(
        side.isdecimal() for side in _IMAGE_SIZE.value
    ):
        raise errors.ConfigError(
            f"--image_size={','.join(_IMAGE_SIZE.value)} is no size. Give "
            "height,width in pixels."
        )
    if not _WORK.value:
        raise errors.ConfigError("--work is missing. Give a folder.")
    work = pathlib.Path(_WORK.value)
    work.mkdir(parents=True, exist_ok=True)
    systems, stages = _SYSTEMS.value, _STAGE_LIST.value
    if "steps" in stages:
        for system in systems:
            _measure_steps(system, work)
    if "train" in stages:
        for seed in _SEEDS.value:
            for system in systems:
                _train_seed(system, seed, work)
    if "times" in stages:
        for system in systems:
            _measure_time(system, work)
    if "table" in stages:
        _print_table(systems, work)


if __name__ == "__main__":
    program.run(_main)
