# SPDX-License-Identifier: Apache-2.0
"""Makes everything that a training on own data needs."""

import dataclasses
import os
import pathlib
import shlex
from collections.abc import Sequence

from deeplab2_like import config as config_lib
from deeplab2_like import errors
from deeplab2_like.config import problems
from deeplab2_like.console import progress
from deeplab2_like.recipes import (
    choices,
    config_text,
    conversion,
    forms,
    out_folder,
)
from deeplab2_like.recipes import plan as plan_lib
from deeplab2_like.recipes import survey as survey_lib
from deeplab2_like.recipes.choice import Wishes
from deeplab2_like.recipes.forms.source import TRAIN, VAL, Source
from deeplab2_like.recipes.machine import Machine
from deeplab2_like.storage import user_paths, whole_files


@dataclasses.dataclass(frozen=True)
class Made:
    """What was made.

    Attributes:
        survey: What the data are like.
        plan: The sizes of the training.
        title: What was found, a line for the user.
        split_rule: How images were set aside; "" where the data say it.
        remarks: Sentences that the user should know.
        commands: The next commands: to train, and to predict.
    """

    survey: survey_lib.DataSurvey
    plan: plan_lib.Plan
    title: str
    split_rule: str
    remarks: Sequence[str]
    commands: Sequence[str]


def make(
    request: forms.Request,
    out: str | os.PathLike[str],
    wishes: Wishes | None = None,
    *,
    overwrite: bool = False,
    machine: Machine | None = None,
    report: progress.Progress | None = None,
) -> Made:
    """Writes descriptor, records and config of a data set.

    Args:
        request: Where the data are.
        out: Folder to write: config.textproto, dataset.textproto, records.
        wishes: What the user decided; the defaults when None.
        overwrite: Whether files of an earlier call are replaced.
        machine: The machine to train on; this one when None.
        report: Display of the progress; on standard error when None.

    Raises:
        errors.DataError: The data cannot be used.
        errors.ConfigError: `out` is refused, or the system does not suit the
            data. Nothing is written then.
    """
    wishes = wishes or Wishes()
    report = report or progress.Progress()
    out = pathlib.Path(user_paths.expand_checkpoint(out, "--out="))
    out_folder.check(out, overwrite=overwrite)
    source = forms.find_source(request)
    report.log(source.title)
    machine = machine or Machine.look()
    with out_folder.open_folder(out) as folder:
        return _Maker(source, out, folder, wishes, machine, report).run(request)


class _Maker:
    """Makes the files of one data set."""

    def __init__(
        self,
        source: Source,
        out: pathlib.Path,
        folder: pathlib.Path,
        wishes: Wishes,
        machine: Machine,
        report: progress.Progress,
    ):
        """Stores what all steps need.

        Args:
            source: The data.
            out: Folder where the files will be.
            folder: Folder where they are written.
            wishes: What the user decided.
            machine: The machine to train on.
            report: Display of the progress.
        """
        self._source = source
        self._out = out
        self._folder = folder
        self._wishes = wishes
        self._machine = machine
        self._report = report
        self._remarks: list[str] = []

    def run(self, request: forms.Request) -> Made:
        """Writes all files."""
        if self._source.question:
            raise errors.DataError(self._source.question)
        name = conversion.name_data(request)
        descriptor, remarks = conversion.write_descriptor(
            self._source, self._folder, name, out_folder.SIGNATURE
        )
        self._remarks += remarks
        choices.check_things(bool(descriptor.thing_ids), self._wishes)
        examples = self._source.list_examples(
            descriptor, lambda text: self._remarks.append(f"Warning: {text}")
        )
        splits, rule = conversion.split_examples(examples)
        survey, remarks = conversion.write_records(
            splits, descriptor, self._folder, self._machine.cores, self._report
        )
        self._remarks += remarks
        plan = plan_lib.make_plan(survey, self._machine, self._wishes)
        commands = _list_commands(self._out, self._source.image_dir)
        self._write_config(survey, plan, commands, rule)
        warnings = [f"Warning: {w}" for w in choices.list_warnings(survey)]
        if self._machine.missing:
            warnings.append(
                f"Warning: {self._machine.missing} With them, few images teach "
                "far more."
            )
        return Made(
            survey,
            plan,
            self._source.title,
            rule,
            [*dict.fromkeys([*self._remarks, *warnings])],
            commands,
        )

    def _write_config(
        self,
        survey: survey_lib.DataSurvey,
        plan: plan_lib.Plan,
        commands: Sequence[str],
        rule: str,
    ) -> None:
        place = self._out.resolve() / out_folder.RECORDS_FOLDER
        beginning = user_paths.escape_pattern(place)
        files = choices.Files(
            out_folder.DATASET_FILE,
            f"{beginning}/{TRAIN}-*.tfrecord",
            f"{beginning}/{VAL}-*.tfrecord",
        )
        fields = choices.choose(
            survey, self._machine, plan, self._wishes, files
        )
        about = [
            out_folder.SIGNATURE,
            f"Data: {_make_printable(self._source.title)}",
            *([f"Evaluation: {rule}."] if rule else []),
            "Above each field is why it has this value; "
            "deeplab2-check-config --explain=FIELD says",
            "what a field means.",
            "",
            *(f"  {command}" for command in commands),
        ]
        text = config_text.write_config(fields, about)
        path = self._folder / out_folder.CONFIG_FILE
        whole_files.write_text(path, text)
        for problem in config_lib.load(path).warnings:
            if problem.severity == problems.WARNING:
                line = f"Warning: {problem.rule}. {problem.fix}"
                self._remarks.append(line)


def _make_printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def _list_commands(out: pathlib.Path, images: pathlib.Path) -> list[str]:
    run = shlex.quote(str(out / "run"))
    config = shlex.quote(str(out / out_folder.CONFIG_FILE))
    pictures = shlex.quote(str(out / "pictures"))
    return [
        f"deeplab2-train --config_file={config} --model_dir={run} "
        "--mode=train_and_eval",
        f"deeplab2-predict --model={run} {shlex.quote(str(images))} "
        f"--out={pictures}",
    ]
