# SPDX-License-Identifier: Apache-2.0
r"""Compares ways to learn from few labelled and many unlabelled images.

    python benchmarks/semi_supervised.py --work=FOLDER --name=nuclei \
        --config=nuclei/panoptic_deeplab_mobilenet_v3_small_os16 \
        --train='nuclei/train-*' --val='nuclei/val-*' --labelled=28,56,112

    python benchmarks/semi_supervised.py --work=FOLDER --name=camvid \
        --config=camvid.textproto --train='camvid/train-*' \
        --unlabelled='camvid/unlabelled-*' --val='camvid/val-*' --labelled=0

Three stages, each resumed where it was left; `--stages` names those to do:

* train: each method with each start, number of labels and seed. The other
  records of --train, and those of --unlabelled, are the images without labels.
* labels: scores pseudo labels against the true ones that were hidden, by
  probability, for the first seed.
* table: prints the results so far as Markdown tables.

With --equal=steps every network is trained for --steps; with --equal=total the
stages of a run together, fine-tuning included, take as many steps as supervised
training, at most. Results of other flags are not taken for those of these: they
are refused. Minutes are
those of the whole run on this machine, evaluation of the last stage included;
they say something only where it does nothing else.
"""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import semi_supervised_data as data_lib  # noqa: E402
from benchmarks import semi_supervised_runs as runs_lib  # noqa: E402
from benchmarks import semi_supervised_tables as tables  # noqa: E402
from deeplab2_like import errors  # noqa: E402
from deeplab2_like.console import path_flags, program  # noqa: E402
from deeplab2_like.storage import json_files  # noqa: E402

_STAGES = ("train", "labels", "table")

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()
_WORK = path_flags.define(
    "work",
    None,
    "Folder of the runs. Required.",
    holds_checkpoint=True,
    flag_values=_FLAGS,
)
_NAME = flags.DEFINE_string(
    "name", "data", "Folder of the runs in --work.", flag_values=_FLAGS
)
_CONFIG = flags.DEFINE_string(
    "config",
    None,
    "Config, a name or a file; its records are replaced.",
    flag_values=_FLAGS,
)
_TRAIN = path_flags.define(
    "train", None, "Pattern of the labelled records.", flag_values=_FLAGS
)
_UNLABELLED = path_flags.define(
    "unlabelled",
    None,
    "Pattern of records of further images without labels.",
    flag_values=_FLAGS,
)
_VAL = path_flags.define(
    "val", None, "Pattern of the records of validation.", flag_values=_FLAGS
)
_LABELLED = flags.DEFINE_list(
    "labelled",
    ["0"],
    "Numbers of labelled images; 0 for all of --train.",
    flag_values=_FLAGS,
)
_METHODS = flags.DEFINE_list(
    "methods", list(runs_lib.METHODS), "Methods to compare.", flag_values=_FLAGS
)
_STARTS = flags.DEFINE_list(
    "starts",
    ["config"],
    "Starts: config, random, imagenet.",
    flag_values=_FLAGS,
)
_SEEDS = flags.DEFINE_list(
    "seeds", ["1", "2", "3"], "Seeds of the runs.", flag_values=_FLAGS
)
_STEPS = flags.DEFINE_integer(
    "steps",
    1000,
    "Steps of a supervised training.",
    lower_bound=1,
    flag_values=_FLAGS,
)
_EQUAL = flags.DEFINE_enum(
    "equal",
    "steps",
    ("steps", "total"),
    "Whether each network, or all of a run together, has --steps.",
    flag_values=_FLAGS,
)
_FINE_TUNING = flags.DEFINE_float(
    "fine_tuning",
    0.1,
    "Steps of fine-tuning after the rounds, as a share of those of a network.",
    lower_bound=0.0,
    flag_values=_FLAGS,
)
_ROUNDS = flags.DEFINE_string(
    "rounds_options",
    "label_mirrored: true",
    "Text of further fields of naive_student, such as its views and mix.",
    flag_values=_FLAGS,
)
_OVERRIDES = flags.DEFINE_multi_string(
    "config_override",
    [],
    "Merged over the config of every run.",
    flag_values=_FLAGS,
)
_STAGE_LIST = flags.DEFINE_list(
    "stages", list(_STAGES), "Stages to run.", flag_values=_FLAGS
)


def _make_absolute(path: str | None) -> str:
    """Returns a path or pattern that programs in any folder understand."""
    return os.path.abspath(path) if path else ""


def _find_config() -> str:
    """Returns the config: the name of a shipped one, or an absolute path."""
    name = _CONFIG.value or ""
    return os.path.abspath(name) if os.path.exists(name) else name


def _list_runs() -> Iterator[runs_lib.Run]:
    for seed in _SEEDS.value:
        for labelled in _LABELLED.value:
            for start in _STARTS.value:
                for method in _METHODS.value:
                    yield runs_lib.Run(method, start, int(labelled), seed)


def _call(arguments: Sequence[str], log: pathlib.Path) -> None:
    """Runs a program in a process of its own.

    Raises:
        UserError: It failed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a", encoding="utf-8") as stream:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=sys.path[0],
            env={**os.environ, "PYTHONPATH": sys.path[0]},
            stdout=stream,
            stderr=stream,
            check=False,
        )
    if done.returncode:
        raise errors.UserError(
            f"A program failed with code {done.returncode}: see {log}. The "
            "same command continues."
        )


def _read_comparison() -> runs_lib.Comparison:
    """Returns what the flags say for all runs."""
    patterns = [_make_absolute(_TRAIN.value)]
    if _UNLABELLED.value:
        patterns.append(_make_absolute(_UNLABELLED.value))
    return runs_lib.Comparison(
        config=_find_config(),
        patterns=patterns,
        val=_make_absolute(_VAL.value),
        steps=_STEPS.value,
        equal=_EQUAL.value,
        fine_tuning=_FINE_TUNING.value,
        rounds_options=_ROUNDS.value,
        overrides=_OVERRIDES.value,
    )


def _train(
    run: runs_lib.Run,
    comparison: runs_lib.Comparison,
    folder: pathlib.Path,
    data: pathlib.Path,
) -> None:
    """Trains and evaluates one run, if it is not done."""
    if (folder / "result.json").exists():
        return
    steps = comparison.plan(run)
    start = time.perf_counter()
    spent = _load(folder / "minutes.json") or {"minutes": 0.0}
    module = "naive_student" if run.rounds else "trainer"
    try:
        _call(
            [
                *("-m", f"deeplab2_like.{module}.main"),
                f"--config_file={comparison.config}",
                f"--model_dir={folder}",
                *(
                    f"--config_override={text}"
                    for text in runs_lib.make_overrides(run, comparison, data)
                ),
            ],
            folder / "log.txt",
        )
        last = folder / runs_lib.find_last_stage(run, steps)
        _call(
            [
                *("-m", "deeplab2_like.trainer.main", "--mode=eval"),
                f"--config_file={last / 'config.textproto'}",
                f"--model_dir={last}",
            ],
            folder / "log.txt",
        )
    finally:
        minutes = spent["minutes"] + (time.perf_counter() - start) / 60
        json_files.write_json(folder / "minutes.json", {"minutes": minutes})
    summaries = _load(last / "eval" / "metrics.json")["summaries"]
    scores = {key: summaries.get(name) for key, name in tables.SCORES.items()}
    json_files.write_json(
        folder / "result.json",
        {**scores, "minutes": minutes, "steps": steps.network},
    )
    shown = ", ".join(
        f"{key} {tables.format_percent(v)}" for key, v in scores.items()
    )
    print(f"{run.name}: {shown}; {minutes:.1f} minutes", flush=True)


def _score_labels(
    run: runs_lib.Run, folder: pathlib.Path, data: pathlib.Path
) -> None:
    """Scores the labels of each round, if they are there."""
    pattern = f"{data}/hidden-*"
    if not run.rounds or not list(data.glob("hidden-*")):
        return
    for number in range(1, run.rounds + 1):
        path = folder / f"labels_{number}.json"
        if path.exists() or not (folder / "result.json").exists():
            continue
        teacher = "teacher" if number == 1 else f"round_{number - 1}/student"
        views = _read_views(folder / f"round_{number}/labels")
        found = data_lib.score_labels(folder / teacher, views, pattern)
        json_files.write_json(path, dataclasses.asdict(found))


def _read_views(labels: pathlib.Path) -> tuple[list[float], bool]:
    """Reads the views that pseudo labels were made with."""
    views = _load(labels / "pseudo.report.json")["views"]
    scales = list(dict.fromkeys(view["scale"] for view in views))
    return scales, any(view["is_mirrored"] for view in views)


def _load(path: pathlib.Path) -> Any:
    if not path.exists():
        return None
    return json.loads(path.read_text(encoding="utf-8"))


def _print_tables(work: pathlib.Path) -> None:
    results: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    labels: dict[tuple[str, str, int, int], dict[str, Any]] = {}
    for run in _list_runs():
        folder = work / run.name
        result = _load(folder / "result.json")
        if result is not None:
            key = (run.method, run.start, run.labelled)
            results.setdefault(key, []).append(result)
        for number in range(1, run.rounds + 1):
            found = _load(folder / f"labels_{number}.json")
            if found is not None:
                labels.setdefault(
                    (run.method, run.start, run.labelled, number), found
                )
    results = dict(sorted(results.items(), key=lambda item: item[0][2]))
    print("\n".join(tables.make_table(results)))
    if labels:
        print()
        print("\n".join(tables.make_label_table(labels)))


def _check_flags() -> None:
    for flag, known in (
        (_METHODS, runs_lib.METHODS),
        (_STARTS, runs_lib.STARTS),
        (_STAGE_LIST, _STAGES),
    ):
        for name in flag.value:
            if name not in known:
                raise errors.ConfigError(
                    f"--{flag.name} has {name!r} - known are "
                    f"{', '.join(known)}."
                )
    for flag in (_LABELLED, _SEEDS):
        for text in flag.value:
            if not text.isdecimal():
                raise errors.ConfigError(
                    f"--{flag.name} has {text!r}, which is no whole number."
                )
    program.require(_WORK, "the folder of the runs", "runs")
    program.require(_CONFIG, "a config", "config.textproto")
    program.require(_TRAIN, "the labelled records", "'nuclei/train-*'")
    program.require(_VAL, "the records of validation", "'nuclei/val-*'")


def _main(arguments: Sequence[str]) -> None:
    program.refuse_arguments(arguments)
    _check_flags()
    work = pathlib.Path(_WORK.value or "").absolute() / _NAME.value
    comparison = _read_comparison()
    for run in _list_runs():
        data = work / f"data_{run.labelled}"
        folder = work / run.name
        if folder.exists() or "train" in _STAGE_LIST.value:
            runs_lib.keep_arguments(folder, comparison.describe(run, data))
        if "train" in _STAGE_LIST.value:
            if not data.exists():
                data_lib.check_apart(comparison.patterns, comparison.val)
            data_lib.split(comparison.patterns, run.labelled, data)
            _train(run, comparison, folder, data)
        is_first = run.seed == _SEEDS.value[0]
        if "labels" in _STAGE_LIST.value and is_first:
            _score_labels(run, work / run.name, data)
    if "table" in _STAGE_LIST.value:
        _print_tables(work)


if __name__ == "__main__":
    program.run(_main, _FLAGS)
