# SPDX-License-Identifier: Apache-2.0
"""The folder of a run's best checkpoint, and the score in it.

The score names the checkpoint that it belongs to, so that both change in one
moment, when a new file of the score takes the place of the old one. Other
checkpoints in the folder are those of a process that was killed.
"""

import dataclasses
import json
import math
import os
import re
from collections.abc import Sequence
from typing import Any

from deeplab2_like import errors
from deeplab2_like.storage import any_files, json_files

FOLDER = "best"
SCORE_FILE = "score.json"

_NAME = re.compile(r"ckpt-\d+")
# Folders in which a run saves checkpoints have it; that of the best has not.
_STATE_FILE = "checkpoint"


@dataclasses.dataclass(frozen=True)
class BestScore:
    """The best score of a run, and the evaluations since.

    Attributes:
        step: Step of the checkpoint.
        metric: "PQ" or "mIoU".
        value: The score, in 0..1.
        steps_without_gain: Steps after `step` that were evaluated, none with a
            higher score, in increasing order.
    """

    step: int
    metric: str
    value: float
    steps_without_gain: Sequence[int] = ()

    @property
    def checkpoint(self) -> str:
        """Name of the checkpoint in the folder."""
        return f"ckpt-{self.step}"

    def __str__(self) -> str:
        return f"{self.metric} {self.value:.4f} at step {self.step}"


def folder_of(model_dir: str) -> str:
    """Returns the folder of the best checkpoint of a model folder."""
    return f"{model_dir.rstrip('/')}/{FOLDER}"


def write_score(folder: str | os.PathLike[str], score: BestScore) -> None:
    """Writes the score of a folder, completely or not at all."""
    facts = {
        "step": score.step,
        "metric": score.metric,
        "value": score.value,
        "checkpoint": score.checkpoint,
        "steps_without_gain": list(score.steps_without_gain),
    }
    json_files.write_json(any_files.join(folder, SCORE_FILE), facts)


def read_score(folder: str | os.PathLike[str]) -> BestScore | None:
    """Reads the score of a folder.

    Args:
        folder: Folder of a best checkpoint, which need not exist.

    Returns:
        The score; None where there is no file of it.

    Raises:
        CheckpointError: The file is damaged.
    """
    file = any_files.join(folder, SCORE_FILE)
    if not any_files.exists(file):
        return None
    try:
        return _parse(json.loads(any_files.read_text(file)))
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        reason = str(error).split("\n")[0][:100] or type(error).__name__
        raise errors.CheckpointError(
            f"{file} is damaged ({reason}), so that the next evaluation of the "
            "run counts as its first one, and its checkpoint takes the place "
            "of the one in the folder."
        ) from error


def _parse(facts: Any) -> BestScore:
    """Returns the score in JSON that was read; raises where it is none."""
    score = BestScore(
        step=facts["step"],
        metric=facts["metric"],
        value=facts["value"],
        steps_without_gain=tuple(facts.get("steps_without_gain", ())),
    )
    numbers = (score.step, *score.steps_without_gain)
    if not all(type(n) is int and n >= 0 for n in numbers):
        raise ValueError("a step is not a number of steps")
    if not isinstance(score.metric, str):
        raise ValueError("metric is not a text")
    value = score.value
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError("value is not a number")
    return score


def find_named(folder: str) -> str | None:
    """Returns the prefix of the checkpoint that the score of a folder names.

    Args:
        folder: Any folder.

    Returns:
        The prefix; None where there is no such score, the checkpoint is absent,
        or a run saves its checkpoints in the folder.
    """
    if any_files.exists(any_files.join(folder, _STATE_FILE)):
        return None
    try:
        score = read_score(folder)
    except errors.CheckpointError:
        return None
    if score is None:
        return None
    prefix = f"{folder.rstrip('/')}/{score.checkpoint}"
    return prefix if any_files.exists(f"{prefix}.index") else None


def check_trainable(folder: str) -> None:
    """Checks that a model folder is not that of a best checkpoint.

    Raises:
        CheckpointError: It is.
    """
    name = folder.rstrip("/").rpartition("/")[2]
    if name == FOLDER and any_files.exists(any_files.join(folder, SCORE_FILE)):
        raise errors.CheckpointError(
            f"--model_dir={folder} holds the best checkpoint of a run, and is "
            "changed by it. To train on from it, copy it to a folder of its "
            f"own: cp -r {folder} OTHER, and train with --model_dir=OTHER "
            "--repair_checkpoint_state."
        )


def check_usable(model_dir: str) -> None:
    """Checks that a run may keep its best checkpoint where it does.

    Args:
        model_dir: The model folder, which need not exist.

    Raises:
        CheckpointError: There is a file or a folder of somebody else.
    """
    path = folder_of(model_dir)
    is_own = any_files.exists(any_files.join(path, SCORE_FILE))
    if is_own or not any_files.exists(path):
        return
    if not any_files.is_folder(path) or any_files.list_names(path):
        raise errors.CheckpointError(
            f"{path} is where the best checkpoint is kept, and there is "
            f"something else, without {SCORE_FILE}. Rename it."
        )


def is_checkpoint_file(name: str) -> bool:
    """Returns whether a file belongs to a checkpoint of a run, by its name."""
    stem, _, end = name.partition(".")
    is_part = re.fullmatch(r"index|data-\d+-of-\d+", end)
    return bool(_NAME.fullmatch(stem) and is_part)
