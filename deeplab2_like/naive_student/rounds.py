# SPDX-License-Identifier: Apache-2.0
"""Runs the stages of Naive-Student one after the other, each once.

Importing this module imports no TensorFlow; `run` does, after the checks that
need none.
"""

import gc
import hashlib
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from deeplab2_like import config as config_lib
from deeplab2_like import errors
from deeplab2_like.checkpoints import presence
from deeplab2_like.console import native_logs, progress
from deeplab2_like.data import unlabeled_files
from deeplab2_like.naive_student import stages as stages_lib
from deeplab2_like.naive_student.stages import Stage
from deeplab2_like.predict import inputs as inputs_lib
from deeplab2_like.predict.options import PredictOptions
from deeplab2_like.reports import installation
from deeplab2_like.storage import json_files, user_paths
from deeplab2_like.trainer import model_folder, orbit_check, run_checks, runs
from deeplab2_like.trainer.run_options import OnStep, RunOptions

STAGES_FILE = "stages.json"
MODES = ("train", "train_and_eval")
_MANIFEST = "MANIFEST.sha256"


def run(
    config: config_lib.Config,
    model_dir: str | os.PathLike[str],
    mode: str = "train",
    options: RunOptions | None = None,
    report: progress.Progress | None = None,
    *,
    on_step: OnStep | None = None,
) -> dict[str, dict[str, Any]]:
    """Runs the stages that a config describes; the same call goes on.

    Every stage is in a folder of its own below `model_dir`: `teacher`,
    `round_1/labels`, `round_1/student` ..., `fine_tuned`. All but the labels
    are ordinary runs, with their config, and may be evaluated and exported as
    such. `stages.json` notes those that are finished.

    Args:
        config: A checked config with semi_supervised.method NAIVE_STUDENT.
        model_dir: Folder of the stages.
        mode: One of `MODES`: whether each training is evaluated too.
        options: Options of the trainings; see `trainer.runs.train`.
        report: Display of the progress; on standard error when None.
        on_step: See `trainer.runs.train`.

    Returns:
        Results of the last evaluation of each training, by stage; {} of those
        that were finished earlier, and without evaluation.

    Raises:
        UserError: There is a problem that the user can fix.
        SystemExit: See `trainer.runs.train`.
    """
    options = options or RunOptions()
    report = report or progress.Progress()
    folder = user_paths.expand_checkpoint(model_dir, "model_dir=")
    if user_paths.is_remote(folder):
        raise errors.ConfigError(
            f"model_dir={folder} is an address. deeplab2-naive-student writes "
            "to a local folder: give one, or mount the bucket and give its "
            "path."
        )
    if not stages_lib.is_described(config):
        raise errors.ConfigError(
            "The config has no semi_supervised { method: NAIVE_STUDENT }. Add "
            "it, or train by deeplab2-train."
        )
    if os.environ.get("TF_CONFIG"):
        raise errors.ConfigError(
            "deeplab2-naive-student runs on one machine, on its CPU, its GPUs "
            "or a TPU: unset the environment variable TF_CONFIG."
        )
    config.require_filled("semi_supervised")
    planned = stages_lib.plan(config, folder)
    stages_lib.read_label_options(config)
    installation.check()
    orbit_check.require_orbit()
    pattern = config.options.semi_supervised.unlabeled_pattern
    unlabeled_files.check_name(pattern, allows_address=False)
    inputs_lib.find_inputs([pattern], warn=lambda _: None)
    if planned[0].config is None:
        raise ValueError("The first stage is a training.")
    run_checks.check(
        planned[0].config,
        str(pathlib.Path(folder) / planned[0].name),
        mode,
        options,
    )
    _check_starts(planned, folder)
    return _Rounds(config, folder, mode, options, report).run(planned, on_step)


def _check_starts(planned: Sequence[Stage], folder: str) -> None:
    """Checks that the weights exist that later trainings start from."""
    own = {os.path.join(folder, stage.name) for stage in planned}
    for stage in planned[1:]:
        if stage.config is None:
            continue
        model = stage.config.options.model_options
        is_trained = presence.may_hold(os.path.join(folder, stage.name))
        if model.initial_checkpoint not in own and not is_trained:
            run_checks.check_start(model)


class _Rounds:
    """One call of `run`."""

    def __init__(
        self,
        config: config_lib.Config,
        folder: str,
        mode: str,
        options: RunOptions,
        report: progress.Progress,
    ):
        """Reads which stages are finished."""
        self._config = config
        self._folder = folder
        self._mode = mode
        self._options = options
        self._report = report
        self._path = pathlib.Path(folder) / STAGES_FILE
        self._noted = _read_notes(self._path)
        self._label_options = stages_lib.read_label_options(config)
        self._pattern = config.options.semi_supervised.unlabeled_pattern
        self._mask = ""
        self._images = ""

    def run(
        self, planned: Sequence[Stage], on_step: OnStep | None
    ) -> dict[str, dict[str, Any]]:
        """Runs the stages that are not finished; see the function `run`."""
        results: dict[str, dict[str, Any]] = {}
        native_logs.load_tensorflow()
        self._check_labelling()
        for number, stage in enumerate(planned, 1):
            title = f"Stage {number} of {len(planned)}, {stage.name}"
            made_of = self._identify_source(planned, stage)
            is_known = self._is_made_of(stage, made_of)
            self._refuse_other_source(planned, stage, is_known)
            if is_known and self._is_finished(planned, stage):
                self._report.log(f"{title}: finished earlier")
                results.setdefault(stage.name, {})
                continue
            self._report.log(f"{title}: {self._find(stage.name)}")
            self._note(stage, made_of, is_finished=False)
            if stage.config is None:
                self._label(stage, is_known)
            else:
                results[stage.name] = self._train(stage, on_step)
            self._note(stage, made_of, is_finished=True)
            _free_memory()
        return results

    def _find(self, name: str) -> pathlib.Path:
        return stages_lib.find_folder(self._folder, name)

    def _check_labelling(self) -> None:
        """Checks what the labels need, before the teacher is trained."""
        from deeplab2_like.naive_student import selection, unlabeled
        from deeplab2_like.predict import running
        from deeplab2_like.trainer import unlabeled_checks

        if self._label_options.ignore_mask:
            mask = selection.IgnoreMask.load(self._label_options.ignore_mask)
            self._mask = mask.identify()
        found = inputs_lib.find_inputs([self._pattern], warn=lambda _: None)
        self._images = unlabeled.identify(found)
        if found.videos:
            running.require_video_reader()
        is_filled = not any(
            path.startswith("eval_dataset_options.file_pattern")
            for path in self._config.unfilled
        )
        if is_filled and not self._has_checkpoint(stages_lib.TEACHER):
            unlabeled_checks.check_apart(
                self._config.options,
                unlabeled.list_places(found),
                self._report,
            )

    def _has_checkpoint(self, name: str) -> bool:
        return presence.may_hold(str(self._find(name)))

    def _train(self, stage: Stage, on_step: OnStep | None) -> dict[str, Any]:
        """Trains a teacher or a student, or fine-tunes."""
        if stage.config is None:
            raise ValueError(f"{stage.name} is no training.")
        return runs.run(
            stage.config,
            str(self._find(stage.name)),
            self._mode,
            self._options,
            self._report,
            on_step,
        )

    def _label(self, stage: Stage, goes_on: bool) -> None:
        """Labels the images without labels by the teacher of the round."""
        from deeplab2_like.naive_student import labelling

        done = labelling.label_images(
            str(self._find(stage.source)),
            [self._pattern],
            self._find(stage.name),
            self._label_options,
            predict_options=PredictOptions(),
            # What was stopped may have had other labels to replace.
            overwrite=self._options.allow_config_change or goes_on,
            report=self._report,
        )
        left_out = ""
        if done.failures:
            left_out = f", {len(done.failures)} left out"
        speed = ""
        if done.seconds:
            speed = f", {1 / done.seconds:.2f} images a second"
        self._report.log(
            f"{done.num_images} images labelled{left_out}{speed}: "
            f"{self._find(stage.name)}/pseudo.report.html"
        )

    def _identify_source(self, planned: Sequence[Stage], stage: Stage) -> str:
        """Returns a checksum of what a stage is made of; "" for nothing."""
        if not stage.source:
            return ""
        kinds = {one.name: one for one in planned}
        source = kinds[stage.source]
        folder = self._find(source.name)
        if source.config is None:
            return _hash(folder / _MANIFEST)
        from deeplab2_like.checkpoints import files as checkpoint_files

        prefix = checkpoint_files.find_checkpoint(str(folder))
        found = _hash(pathlib.Path(f"{prefix}.index"))
        if stage.config is not None:
            return found
        deciding = repr(self._label_options.deciding())
        lines = [found, deciding, self._mask, self._pattern]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def _is_made_of(self, stage: Stage, made_of: str) -> bool:
        noted = self._noted.get(stage.name)
        return noted is not None and noted.get("made_of") == made_of

    def _refuse_other_source(
        self, planned: Sequence[Stage], stage: Stage, is_known: bool
    ) -> None:
        """Refuses to go on with what was made of something else."""
        is_other = stage.name in self._noted and not is_known
        folder = self._find(stage.name)
        has_changed = f"was made of another {stage.source}"
        begins = not self._has_checkpoint(stage.name)
        if stage.config is None:
            has_changed += ", or with other images or options of its labels"
            begins = is_other or not (folder / _MANIFEST).exists()
        later = self._list_trained(planned, stage)
        if stage.config is not None and is_other and not begins:
            raise errors.CheckpointError(
                f"{folder} {has_changed}. Remove "
                f"{self._list_folders([stage.name, *later])}, or give another "
                "--model_dir."
            )
        replaces = self._options.allow_config_change
        if stage.config is None and is_other and not replaces:
            raise errors.CheckpointError(
                f"{folder} {has_changed}. Remove "
                f"{self._list_folders([stage.name, *later])}, give another "
                "--model_dir, or add --allow_config_change to replace the "
                "labels."
            )
        if begins and later:
            raise errors.CheckpointError(
                f"{folder} is to be made now, but what would be made of it "
                f"was trained before: {self._list_folders(later)}. Remove "
                "that, or give another --model_dir."
            )

    def _list_trained(
        self, planned: Sequence[Stage], stage: Stage
    ) -> list[str]:
        """Lists the trainings after a stage that have begun."""
        return [
            one.name
            for one in planned[planned.index(stage) + 1 :]
            if one.config is not None and self._has_checkpoint(one.name)
        ]

    def _list_folders(self, names: Sequence[str]) -> str:
        return ", ".join(str(self._find(name)) for name in names)

    def _is_finished(self, planned: Sequence[Stage], stage: Stage) -> bool:
        """Returns whether a stage needs nothing more.

        Labels of images that changed are made again, unless something was
        trained on them: then that is said.
        """
        noted = self._noted.get(stage.name, {})
        folder = self._find(stage.name)
        if not noted.get("is_finished"):
            return False
        if stage.config is None:
            later = self._list_trained(planned, stage)
            is_same = noted.get("images", self._images) == self._images
            if not is_same and later:
                self._report.log(
                    f"warning: the images of {self._pattern!r} have changed "
                    f"since {folder} was made of them, which is kept because "
                    "a network was trained on it. To label them again, remove "
                    f"{self._list_folders([stage.name, *later])}."
                )
            return (folder / _MANIFEST).exists() and (is_same or bool(later))
        model_folder.check(
            str(folder),
            stage.config.options,
            allow_config_change=self._options.allow_config_change,
        )
        return (
            noted.get("steps") == _count_steps(stage)
            and noted.get("mode") in (self._mode, MODES[-1])
            and presence.may_hold(str(folder))
        )

    def _note(self, stage: Stage, made_of: str, *, is_finished: bool) -> None:
        """Notes in the file where the stages are."""
        self._noted[stage.name] = {
            "made_of": made_of,
            **({} if stage.config else {"images": self._images}),
            "steps": _count_steps(stage),
            "mode": self._mode,
            "is_finished": is_finished,
        }
        json_files.write_json(self._path, {"stages": self._noted})


def _count_steps(stage: Stage) -> int:
    if stage.config is None:
        return 0
    solver = stage.config.options.trainer_options.solver_options
    return int(solver.training_number_of_steps)


def _read_notes(path: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Reads the file of the stages; a damaged one is written anew."""
    try:
        stages = json.loads(path.read_text(encoding="utf-8"))["stages"]
        return {str(name): dict(entry) for name, entry in stages.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _hash(path: pathlib.Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise errors.DataError(
            f"{path} cannot be read ({error.strerror}). Remove its folder, and "
            "run the same command again."
        ) from error


def _free_memory() -> None:
    """Frees the model of a stage before the next one is built."""
    import keras

    keras.backend.clear_session()
    gc.collect()
