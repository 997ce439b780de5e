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
from deeplab2_like.console import native_logs, progress
from deeplab2_like.data.coco.samples import Sample
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.recipes import (
    choices,
    config_text,
    forms,
    out_folder,
    splitting,
)
from deeplab2_like.recipes import plan as plan_lib
from deeplab2_like.recipes import survey as survey_lib
from deeplab2_like.recipes.choice import Wishes
from deeplab2_like.recipes.forms.source import TRAIN, VAL, Example, Source
from deeplab2_like.recipes.machine import Machine
from deeplab2_like.storage import user_paths, whole_files

_IMAGES_PER_SHARD = 8
_MAX_SHARDS = 10


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


def _name_data(request: forms.Request) -> str:
    name = request.root.resolve().name
    return name if name.isprintable() and name else "data"


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
        descriptor = self._write_descriptor(_name_data(request))
        examples = self._source.list_examples(
            descriptor, lambda text: self._remarks.append(f"Warning: {text}")
        )
        splits, rule = split_examples(examples)
        survey = self._write_records(splits, descriptor)
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

    def _write_descriptor(self, name: str) -> descriptor_lib.DatasetDescriptor:
        text, notes = self._source.describe(name)
        path = self._folder / out_folder.DATASET_FILE
        whole_files.write_text(path, f"# {out_folder.SIGNATURE}\n{text}")
        self._remarks += [f"Check: {note}" for note in notes]
        descriptor = descriptor_lib.load(str(path))
        for warning in config_lib.list_dataset_warnings(
            config_lib.load_dataset(str(path))
        ):
            self._remarks.append(f"Warning: {warning.rule}. {warning.fix}")
        choices.check_things(bool(descriptor.thing_ids), self._wishes)
        return descriptor

    def _write_records(
        self,
        splits: dict[str, list[Example]],
        descriptor: descriptor_lib.DatasetDescriptor,
    ) -> survey_lib.DataSurvey:
        native_logs.load_tensorflow()
        from deeplab2_like.data.coco import records

        surveyor = survey_lib.Surveyor(descriptor)
        total = sum(map(len, splits.values()))
        done = 0
        with self._report.phase("Converting", total, unit="images") as phase:

            def convert(split: str, examples: list[Example]) -> records.Summary:
                def survey_sample(sample: Sample) -> None:
                    if sample.panoptic is not None:
                        surveyor.add(sample.panoptic, is_val=split == VAL)

                return records.write_samples(
                    [example.load for example in examples],
                    descriptor,
                    records.Output(
                        str(self._folder / out_folder.RECORDS_FOLDER),
                        split,
                        _count_shards(len(examples)),
                    ),
                    num_threads=self._machine.cores,
                    report=lambda number: phase.advance(done + number),
                    on_sample=survey_sample,
                )

            for split, examples in splits.items():
                summary = convert(split, examples)
                done += len(examples)
                self._remarks += [
                    line
                    for line in summary.list_remarks(descriptor)
                    # The survey says it for both splits.
                    if "do not occur" not in line
                ]
        return surveyor.finish()

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


def _count_shards(num_images: int) -> int:
    return max(1, min(_MAX_SHARDS, num_images // _IMAGES_PER_SHARD))


def split_examples(
    examples: Sequence[Example],
) -> tuple[dict[str, list[Example]], str]:
    """Divides images into training and evaluation.

    Args:
        examples: One image or more.

    Returns:
        The images by split; and how they were divided, "" where the data say
        it.

    Raises:
        errors.DataError: There is no image.
    """
    if not examples:
        raise errors.DataError("There is no image with a label.")
    if all(example.split for example in examples):
        return {
            split: [e for e in examples if e.split == split]
            for split in (TRAIN, VAL)
        }, ""
    if len(examples) == 1:
        one = list(examples)
        return {TRAIN: one, VAL: one}, (
            "on the only image, which is trained on, too: scores say nothing "
            "about other images"
        )
    chosen = splitting.choose_evaluation(
        {example.name: example.class_ids for example in examples}
    )
    return {
        TRAIN: [e for e in examples if e.name not in chosen],
        VAL: [e for e in examples if e.name in chosen],
    }, splitting.RULE


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
