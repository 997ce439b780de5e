# SPDX-License-Identifier: Apache-2.0
"""Keeps the checkpoint with the best score of a run, beside the newest ones."""

import math
import os
import pathlib
import shutil
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.checkpoints import best
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.config import run_config
from deeplab2_like.storage import any_files, whole_files
from deeplab2_like.trainer import light_checkpoints

# Names of scores and of the summaries that they are, the preferred one first.
_METRICS = {"PQ": "evaluation/pq/PQ", "mIoU": "evaluation/iou/IoU"}


def find_score(results: Mapping[str, Any]) -> tuple[str, float] | None:
    """Returns what checkpoints are compared by: panoptic quality, or mean IoU.

    Args:
        results: Results of an evaluation; see `runs.evaluate`.

    Returns:
        Name and value; None where there is none, or it is not defined.
    """
    summaries = results.get("summaries", {})
    for name, tag in _METRICS.items():
        if tag in summaries:
            value = float(summaries[tag])
            return (name, value) if math.isfinite(value) else None
    return None


class BestCheckpoint:
    """The best checkpoint of a model folder."""

    def __init__(
        self,
        model_dir: str,
        *,
        keeps_optimizer: bool,
        log: Callable[[str], None],
    ):
        """Stores where it is; reads nothing.

        Args:
            model_dir: The model folder.
            keeps_optimizer: Whether the state of the optimizer is kept too; see
                `light_checkpoints`.
            log: Function that prints a line.
        """
        self._model_dir = model_dir
        self._folder = best.folder_of(model_dir)
        self._keeps_optimizer = keeps_optimizer
        self._log = log
        self._has_reported_damage = False

    def prepare(self) -> None:
        """Removes what killed processes left, and reports a damaged score."""
        for path in checkpoint_files.list_files(self._model_dir):
            name = path.rpartition("/")[2]
            if name.startswith(f".{best.FOLDER}.partial-"):
                any_files.delete_folder(path)
        checkpoint_files.purge_unfinished(self._folder)
        score = self._read()
        if score is not None:
            self._log(f"Best so far: {score}, in {self._folder}")
            self._remove_others(score)

    def offer(self, results: Mapping[str, Any], prefix: str, step: int) -> None:
        """Keeps a checkpoint if its score is above the best one so far.

        Of equal scores the older one stays. Failures are logged; no training
        ends for them.

        Args:
            results: Results of the evaluation of the checkpoint.
            prefix: Prefix of the checkpoint.
            step: Step of the checkpoint.
        """
        found = find_score(results)
        if found is None:
            self._log(
                f"warning: the evaluation of step {step} has no score, so that "
                "it is not compared with the best one."
            )
            return
        new = best.BestScore(step, *found)
        try:
            self._compare(new, prefix)
        except (OSError, errors.CheckpointError, tf.errors.OpError) as error:
            reason = str(error).split("\n")[0][:200]
            self._log(
                f"warning: {new} could not be kept in {self._folder}: {reason}"
            )

    def _compare(self, new: best.BestScore, prefix: str) -> None:
        best.check_usable(self._model_dir)
        stored = self._read()
        if stored is not None and stored.metric != new.metric:
            self._log(
                f"{self._folder} is compared by {stored.metric}, and this "
                f"evaluation has {new.metric}: it counts as the first one."
            )
            stored = None
        if stored is None or (
            new.value > stored.value and new.step != stored.step
        ):
            self._keep(new, prefix, stored)
            self._log(f"Best so far: {new}, kept in {self._folder}")
        elif new.step > stored.step:
            # Later ones are of steps that are done again.
            earlier = {s for s in stored.steps_without_gain if s < new.step}
            best.write_score(
                self._folder,
                best.BestScore(
                    stored.step,
                    stored.metric,
                    stored.value,
                    sorted({*earlier, new.step}),
                ),
            )
            self._log(f"The best remains {stored}, in {self._folder}")

    def describe_stop(self, evaluations: int, step: int) -> str:
        """Returns why training ends, as sentences; "" while it goes on.

        Args:
            evaluations: Number of evaluations in a row without a higher score
                that end it; 0 for never.
            step: The present step.
        """
        if not evaluations:
            return ""
        try:
            score = best.read_score(self._folder)
        except errors.CheckpointError:
            return ""  # The evaluation has reported it.
        if score is None:
            return ""
        since = [s for s in score.steps_without_gain if s <= step]
        if len(since) < evaluations:
            return ""
        noun = "evaluations" if len(since) > 1 else "evaluation"
        return (
            f"Stopped early at step {step}: {len(since)} {noun} in a row were "
            f"not better than {score}, whose checkpoint is in {self._folder}. "
            "Raise trainer_options.early_stopping_evaluations, or set it to 0, "
            "to train on."
        )

    def _read(self) -> best.BestScore | None:
        """Reads the score; a damaged one is reported, and counts as none."""
        try:
            return best.read_score(self._folder)
        except errors.CheckpointError as error:
            if not self._has_reported_damage:
                self._log(f"warning: {error}")
            self._has_reported_damage = True
            return None

    def _keep(
        self, score: best.BestScore, prefix: str, old: best.BestScore | None
    ) -> None:
        """Copies a checkpoint; one moment decides between old and new."""
        if old is not None:
            self._remove_others(old)
        index = f"{self._folder}/{score.checkpoint}.index"
        if any_files.is_remote(self._folder):
            # Folders of object stores cannot be renamed.
            any_files.make_folder(self._folder)
        elif not os.path.isdir(self._folder) or os.path.exists(index):
            # A checkpoint of this name cannot be replaced file by file.
            with whole_files.new_folder(self._folder) as folder:
                self._fill(str(folder), score, prefix)
                best.write_score(folder, score)
            return
        self._fill(self._folder, score, prefix)
        best.write_score(self._folder, score)
        self._remove_others(score)

    def _fill(self, folder: str, score: best.BestScore, prefix: str) -> None:
        """Writes checkpoint and config into a folder, all but the score."""
        target = f"{folder}/{score.checkpoint}"
        is_written = not self._keeps_optimizer and (
            light_checkpoints.write_light(prefix, target)
        )
        if not is_written:
            _copy_checkpoint(prefix, target)
        for name in _list_config_files(self._model_dir):
            content = any_files.read_bytes(
                any_files.join(self._model_dir, name)
            )
            with whole_files.open_whole(f"{folder}/{name}") as file:
                file.write(content)

    def _remove_others(self, score: best.BestScore) -> None:
        """Removes the files of other checkpoints from the folder."""
        for path in checkpoint_files.list_files(self._folder):
            name = path.rpartition("/")[2]
            is_own = name.startswith(f"{score.checkpoint}.")
            if best.is_checkpoint_file(name) and not is_own:
                any_files.delete(path)


def _copy_checkpoint(prefix: str, target: str) -> None:
    """Copies the files of a checkpoint, the index last.

    They become further names of the same files where the disk has that, which
    takes neither time nor space: no file of a checkpoint is ever changed.
    """
    start = f"{prefix.rpartition('/')[2]}."
    folder = prefix.rpartition("/")[0] or "."
    paths = [
        path
        for path in checkpoint_files.list_files(folder)
        if path.rpartition("/")[2].startswith(start)
    ]
    if f"{folder}/{start}index" not in paths:
        raise errors.CheckpointError(f"The checkpoint {prefix} is gone.")
    for path in sorted(paths, key=lambda path: path.endswith(".index")):
        end = path.rpartition("/")[2].removeprefix(start)
        if any_files.is_remote(path):
            tf.io.gfile.copy(path, f"{target}.{end}", overwrite=True)
            continue
        final = pathlib.Path(f"{target}.{end}")
        partial = whole_files.partial_path(final)
        partial.unlink(missing_ok=True)
        try:
            try:
                os.link(path, partial)
            except OSError:
                shutil.copyfile(path, partial)
            partial.replace(final)
        finally:
            partial.unlink(missing_ok=True)


def _list_config_files(model_dir: str) -> list[str]:
    """Lists the names of the config of a model folder and its descriptors."""
    present = any_files.list_names(model_dir)
    if run_config.CONFIG_FILE not in present:
        return []
    options = run_config.load_run_config(model_dir)
    names = {run_config.CONFIG_FILE}
    for split in (options.train_dataset_options, options.eval_dataset_options):
        if split.dataset in present:
            names.add(split.dataset)
    return sorted(names)
