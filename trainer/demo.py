# SPDX-License-Identifier: Apache-2.0
"""The whole way in one command: draw data, train, evaluate, export, predict.

    python trainer/demo.py --out=demo

Needs no download. Ends with the scores on scenes that were not trained on, and
where everything is. Exits with 1 when PQ is below --min_pq.
"""

import math
import os
import pathlib
import shutil
import sys
import time

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from absl import flags  # noqa: E402

from deeplab2_like.console import (  # noqa: E402
    native_logs,
    path_flags,
    program,
    progress,
)
from deeplab2_like.storage import json_files  # noqa: E402

_OUT = path_flags.define(
    "out", "demo", "Folder for everything; replaced.", holds_checkpoint=True
)
_CONFIG = path_flags.define(
    "config_file",
    "scenes/panoptic_deeplab_mobilenet_v3_small_os16",
    "The config to train.",
)
_TRAIN_SCENES = flags.DEFINE_integer(
    "train_scenes", 800, "Scenes to train on.", lower_bound=1
)
_VAL_SCENES = flags.DEFINE_integer(
    "val_scenes", 100, "Scenes of other seeds to evaluate on.", lower_bound=1
)
_MIN_PQ = flags.DEFINE_float("min_pq", 0.70, "Lowest PQ that is a success.")
_OVERRIDE = flags.DEFINE_multi_string(
    "config_override", [], "As of trainer/main.py."
)


def _draw(folder: pathlib.Path, report: progress.Progress) -> None:
    native_logs.load_tensorflow()
    from deeplab2_like.scenes import records as scenes_records

    for split, count in (
        ("train", _TRAIN_SCENES.value),
        ("val", _VAL_SCENES.value),
    ):
        with report.phase(f"Drawing {count} {split} scenes", count) as phase:
            scenes_records.write_records(
                str(folder), split, count, advance=phase.advance
            )
    scenes_records.write_pictures(str(folder / "pictures"), "val", 6)
    os.environ["TRAIN_SET"] = str(folder / "train-*.tfrecord")
    os.environ["VAL_SET"] = str(folder / "val-*.tfrecord")


def _train(run: pathlib.Path, report: progress.Progress) -> dict:
    from deeplab2_like import config as config_lib
    from deeplab2_like.trainer import runs

    config = config_lib.load(_CONFIG.value, _OVERRIDE.value)
    return runs.train(config, run, evaluate=True, report=report)


def _export_and_predict(
    run: pathlib.Path, out: pathlib.Path, report: progress.Progress
) -> None:
    from deeplab2_like import predict
    from deeplab2_like.exports import saved_model

    report.log("Exporting a SavedModel and comparing it with the model ...")
    saved_model.export(str(run), str(out / "saved_model"), report=report)
    predict.predict_files(
        str(out / "saved_model"),
        [str(out / "scenes" / "pictures")],
        str(out / "predictions"),
        overwrite=True,
        report=report,
    )


def _read_step_seconds(run: pathlib.Path) -> float:
    """Reads the median of the seconds a step from the summaries."""
    import tensorflow as tf
    from tensorboard.backend.event_processing import event_accumulator

    events = event_accumulator.EventAccumulator(str(run / "train"))
    events.Reload()
    tag = "steps_per_second"
    rates = sorted(
        float(tf.make_ndarray(event.tensor_proto))
        for event in events.Tensors(tag)
    )
    return 1.0 / rates[len(rates) // 2]


def _describe(out: pathlib.Path, results: dict, seconds: float) -> list[str]:
    values = results["summaries"]

    def percent(name: str) -> str:
        value = values.get(name, math.nan)
        return f"{100 * value:6.1f}"

    lines = ["", "          PQ     SQ     RQ"]
    for label, suffix in (
        ("all", ""),
        ("things", "_things"),
        ("stuff", "_stuff"),
    ):
        numbers = " ".join(
            percent(f"evaluation/pq/{name}{suffix}")
            for name in ("PQ", "SQ", "RQ")
        )
        lines.append(f"{label:7}{numbers}")
    step = _read_step_seconds(out / "run")
    lines += [
        f"mIoU {percent('evaluation/iou/IoU')}   mask AP "
        f"{percent('evaluation/ap/AP_Mask')}   {step:.2f} s a step   "
        f"{seconds:.0f} s altogether",
        f"SavedModel   {out / 'saved_model'}",
        f"TensorBoard  tensorboard --logdir {out / 'run'}",
        f"Pictures     {out / 'predictions'}",
        "",
    ]
    return lines


def _main(arguments: list[str]) -> None:
    program.refuse_arguments(arguments)
    start = time.monotonic()
    out = pathlib.Path(_OUT.value)
    report = progress.Progress()
    for part in ("scenes", "run", "saved_model", "predictions"):
        shutil.rmtree(out / part, ignore_errors=True)
    _draw(out / "scenes", report)
    results = _train(out / "run", report)
    _export_and_predict(out / "run", out, report)
    quality = results["summaries"]["evaluation/pq/PQ"]
    seconds = time.monotonic() - start
    json_files.write_json(out / "results.json", results)
    print("\n".join(_describe(out, results, seconds)))
    if not quality >= _MIN_PQ.value:
        print(f"PQ is below {_MIN_PQ.value:.2f}: something is wrong.")
    print(f"PQ={quality:.3f}", flush=True)
    if not quality >= _MIN_PQ.value:
        sys.exit(1)


if __name__ == "__main__":
    program.run(_main)
