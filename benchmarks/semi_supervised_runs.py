# SPDX-License-Identifier: Apache-2.0
"""The runs that `semi_supervised` compares, and what each is made of.

In reading order: `METHODS`, `STARTS`, `Run`, `Comparison`, `plan_steps`,
`make_overrides`, `keep_arguments`.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from deeplab2_like import errors
from deeplab2_like.storage import json_files

_ARGUMENTS_FILE = "arguments.json"
# Method -> (title, rounds of pseudo labels, name in the schema).
METHODS = {
    "supervised": ("supervised only", 0, ""),
    "naive_student_1": ("Naive-Student, 1 round", 1, "NAIVE_STUDENT"),
    "naive_student_2": ("Naive-Student, 2 rounds", 2, "NAIVE_STUDENT"),
    "mean_teacher": ("mean teacher", 0, "MEAN_TEACHER"),
    "weak_to_strong": ("weak to strong", 0, "WEAK_TO_STRONG"),
}
STARTS = {
    "config": "",
    "random": 'model_options { initial_checkpoint: "" }',
    "imagenet": (
        'model_options { initial_checkpoint: "imagenet" backbone {'
        ' name: "efficientnet_lite0" use_squeeze_and_excite: false } }'
    ),
}


@dataclasses.dataclass(frozen=True)
class Run:
    """One training of one method.

    Attributes:
        method: Key of `METHODS`.
        start: Key of `STARTS`.
        labelled: Number of labelled images; 0 for all.
        seed: Seed of the training.
    """

    method: str
    start: str
    labelled: int
    seed: str

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.method}_{self.start}_{self.labelled}_{self.seed}"

    @property
    def rounds(self) -> int:
        """Rounds of pseudo labels."""
        return METHODS[self.method][1]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What is the same for all runs; the attributes are the flags.

    Attributes:
        config: Name of a shipped config, or its path.
        patterns: Patterns of the labelled records, and of further images.
        val: Pattern of the records of validation.
        steps: Steps of a supervised training.
        equal: "steps" or "total".
        fine_tuning: Share of the steps of a network.
        rounds_options: Text of further fields of naive_student.
        overrides: Merged over the config of every run.
    """

    config: str
    patterns: Sequence[str]
    val: str
    steps: int
    equal: str
    fine_tuning: float
    rounds_options: str
    overrides: Sequence[str] = ()

    def plan(self, run: Run) -> "Steps":
        """Returns the steps of a run."""
        return plan_steps(
            run.rounds, self.steps, self.equal, fine_tuning=self.fine_tuning
        )

    def describe(self, run: Run, data: pathlib.Path) -> dict[str, Any]:
        """Returns all that decides about the result of a run."""
        content = ""
        if os.path.exists(self.config):
            text = pathlib.Path(self.config).read_bytes()
            content = hashlib.sha256(text).hexdigest()
        return {
            "config": self.config,
            "sha256 of the config": content,
            "patterns": list(self.patterns),
            "config_override": make_overrides(run, self, data),
        }


@dataclasses.dataclass(frozen=True)
class Steps:
    """Steps of the stages of a run.

    Attributes:
        network: Of the teacher and of each student, or of the only network.
        tuning: Of the fine-tuning of the last student.
    """

    network: int
    tuning: int = 0


def plan_steps(
    rounds: int, total: int, equal: str, *, fine_tuning: float
) -> Steps:
    """Returns the steps of the stages of a run.

    Args:
        rounds: Rounds of pseudo labels.
        total: Steps of a supervised training.
        equal: "steps": each network has so many; "total": all stages together,
            fine-tuning included, have at most so many.
        fine_tuning: Steps of fine-tuning as a share of those of a network.
    """
    if not rounds:
        return Steps(total)
    steps = total
    if equal == "total":
        steps = max(1, int(total / (rounds + 1 + fine_tuning)))
    tuning = round(fine_tuning * steps)
    if equal == "total":
        tuning = max(0, min(tuning, total - steps * (rounds + 1)))
    return Steps(steps, tuning)


def find_last_stage(run: Run, steps: Steps) -> str:
    """Returns the folder of the model that is scored, below that of a run."""
    if not run.rounds:
        return "."
    if steps.tuning:
        return "fine_tuned"
    return f"round_{run.rounds}/student"


def make_overrides(
    run: Run, comparison: Comparison, data: pathlib.Path
) -> list[str]:
    """Returns the fragments that make the config of a run.

    Args:
        run: The run.
        comparison: What is the same for all runs.
        data: Folder that `semi_supervised_data.split` wrote.
    """
    steps = comparison.plan(run)
    found = [
        STARTS[run.start],
        f"trainer_options {{ seed: {run.seed} deterministic: true"
        f" solver_options {{ training_number_of_steps: {steps.network} }} }}"
        f" evaluator_options {{ eval_interval: {steps.network} }}"
        f' train_dataset_options {{ file_pattern: "{data}/labelled-*" }}'
        f' eval_dataset_options {{ file_pattern: "{comparison.val}" }}',
        *comparison.overrides,
    ]
    method = METHODS[run.method][2]
    if method:
        found.append(
            f"semi_supervised {{ method: {method}"
            f' unlabeled_pattern: "{data}/unlabelled-*" }}'
        )
    if run.rounds:
        found.append(
            f"semi_supervised {{ naive_student {{ rounds: {run.rounds}"
            f" fine_tuning_steps: {steps.tuning}"
            f" {comparison.rounds_options} }} }}"
        )
    return [text for text in found if text]


def keep_arguments(folder: pathlib.Path, arguments: Mapping[str, Any]) -> None:
    """Notes what a run is made of beside its results.

    A folder without a note, of an earlier version, is taken as it is.

    Args:
        folder: Folder of the run.
        arguments: Result of `Comparison.describe`.

    Raises:
        ConfigError: The folder was made of something else.
    """
    path = folder / _ARGUMENTS_FILE
    if path.exists():
        stored = json.loads(path.read_text(encoding="utf-8"))
        changed = [
            key for key in arguments if stored.get(key) != arguments[key]
        ]
        if changed:
            key = changed[0]
            raise errors.ConfigError(
                f"{folder} was made with other flags: {key} was "
                f"{stored.get(key)!r} and is {arguments[key]!r} now. Give the "
                "same flags, another --work or --name, or remove the folder."
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    json_files.write_json(path, dict(arguments))
