# SPDX-License-Identifier: Apache-2.0
"""Writes records with pseudo labels; what was killed goes on where it was.

In reading order: `Labelled`, `label_images`.
"""

import dataclasses
import hashlib
import os
import pathlib
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from deeplab2_like import errors
from deeplab2_like.console import progress
from deeplab2_like.data.coco.samples import Sample
from deeplab2_like.data.inspection import texts
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.naive_student import (
    balancing,
    candidates,
    image_facts,
    labelling_model,
    replicas,
    report_files,
    selection,
    unlabeled,
)
from deeplab2_like.naive_student import labeller as labeller_lib
from deeplab2_like.naive_student.label_options import LabelOptions
from deeplab2_like.predict import models
from deeplab2_like.predict.options import PredictOptions
from deeplab2_like.recipes.published import manifest, shard_counts, shards
from deeplab2_like.recipes.published.items import Item
from deeplab2_like.recipes.published.pool import Pool
from deeplab2_like.storage import json_files

_FORMAT = 1  # Changes when labels of the same images become others.


@dataclasses.dataclass(frozen=True)
class Labelled:
    """The result of `label_images`.

    Attributes:
        pattern: Glob pattern of the records.
        num_images: Images in them.
        failures: What was left out.
        report: Content of report.json.
        seconds: Time of the model for an image, on average, without the first
            one; 0 where fewer than two images had to be labelled.
    """

    pattern: str
    num_images: int
    failures: list[unlabeled.Failure]
    report: dict[str, Any]
    seconds: float


def label_images(
    model: str,
    inputs: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    options: LabelOptions | None = None,
    *,
    predict_options: PredictOptions | None = None,
    overwrite: bool = False,
    report: progress.Progress | None = None,
) -> Labelled:
    """Labels images by a model, and writes them as records of training.

    Written to `out` are `SPLIT-00000-of-0000N.tfrecord`, `manifest.json` and
    MANIFEST.sha256 as beside all records, `SPLIT.report.json` and
    `SPLIT.report.html`. The same call goes on after a kill, and ends with the
    same bytes.

    Args:
        model: The folder of a training run, whose newest checkpoint is taken,
            a checkpoint in it, or what deeplab2-export wrote.
        inputs: See `predict.inputs.find_inputs`.
        out: Folder of the records; created if it does not exist.
        options: How images are labelled; the defaults when None.
        predict_options: How images are turned, and which frames of videos are
            taken; the defaults when None.
        overwrite: Whether other records of the split are replaced.
        report: Display of the progress; on standard error when None.

    Raises:
        UserError: The model cannot be used; there is no image, none that can
            be read, or one that is also in the validation set; or there are
            other records of the split.
    """
    report = report or progress.Progress()
    options = options or LabelOptions()
    folder = pathlib.Path(out)
    if folder.exists() and not folder.is_dir():
        raise errors.DataError(f"--out={folder} is a file. Give a folder.")
    facts = models.load_facts(model)
    labeller_lib.check(
        facts,
        (options.scales, options.mirrored),
        needs_confidence=options.selects_pixels,
    )
    predict_options = predict_options or PredictOptions()
    run = _Run(facts, folder, options, report, exif=predict_options.exif)
    found = candidates.find(
        facts,
        inputs,
        options,
        predict_options,
        frames=run.hidden("frames"),
        report=report,
    )
    done = run.find_complete(found, overwrite)
    return done or run.write(found, overwrite)


class _Run:
    """One call of `label_images`."""

    def __init__(
        self,
        facts: models.Facts,
        folder: pathlib.Path,
        options: LabelOptions,
        report: progress.Progress,
        *,
        exif: str,
    ):
        """Reads the mask; loads no model."""
        self._exif = exif
        self._facts = facts
        self._folder = folder
        self._options = options
        self._report = report
        self._mask: selection.IgnoreMask | None = None
        if options.ignore_mask:
            self._mask = selection.IgnoreMask.load(options.ignore_mask)
        self._labeller: labelling_model.Labeller | None = None
        self._thresholds: selection.Thresholds | None = None
        self._journal: image_facts.Journal | None = None

    def hidden(self, name: str) -> pathlib.Path:
        """Returns a path that exists only until all is written."""
        return self._folder / f".{self._options.split}.{name}"

    def _load(self) -> labelling_model.Labeller:
        """Returns the model, loaded the first time; not for several threads."""
        if self._labeller is None:
            views = (self._options.scales, self._options.mirrored)
            self._labeller = replicas.load(
                lambda: labeller_lib.load(self._facts, views, self._report)
            )
        return self._labeller

    def find_complete(
        self, found: candidates.Candidates, overwrite: bool
    ) -> Labelled | None:
        """Returns what an earlier call completed; None where there is work.

        Images are decoded only if they were left out, or compared with another
        validation set.
        """
        split = self._options.split
        path = self._folder / report_files.name_json(split)
        stored = report_files.read(path)
        left_out = {source for source, _ in (stored or {}).get("failures", ())}
        images: list[unlabeled.UnlabeledImage] = []
        others: list[unlabeled.UnlabeledImage] = []
        for image in found.images:
            is_out = texts.make_writable(image.origin) in left_out
            (others if is_out else images).append(image)
        if not images:
            return None
        settings = self._describe_settings(images)
        stored = report_files.load(self._folder, split, settings)
        plan = self._plan(images, settings, overwrite)
        try:
            if stored is None or not manifest.is_complete(plan):
                return None
        except errors.DataError:
            if overwrite:
                return None
            raise
        good, _, damaged = unlabeled.check_images(others)
        if good:
            return None
        if stored.get(report_files.COMPARED_WITH) != found.compared_with:
            candidates.check(found, self._report)
            stored[report_files.COMPARED_WITH] = found.compared_with
            json_files.write_json(path, stored)
        self._report.log("The records are complete already.")
        self._clean(plan)
        return self._finish(images, [*found.failures, *damaged], stored)

    def _plan(
        self,
        images: Sequence[unlabeled.UnlabeledImage],
        settings: str,
        overwrite: bool,
    ) -> shards.Plan:
        options = self._options
        return shards.Plan.make(
            [self._make_item(image) for image in images],
            self._facts.descriptor,
            shards.Target(
                self._folder,
                options.split,
                options.count_shards(len(images)),
                overwrite,
                settings,
            ),
        )

    def write(self, found: candidates.Candidates, overwrite: bool) -> Labelled:
        """Writes records and report; see `label_images`."""
        images, failures = candidates.check(found, self._report)
        self._folder.mkdir(parents=True, exist_ok=True)
        settings = self._describe_settings(images)
        plan = self._plan(images, settings, overwrite)
        self._thresholds = self._choose_thresholds(images, settings)
        self._journal = image_facts.Journal(
            self.hidden("facts.jsonl"), settings
        )
        counts = self._write_records(plan, len(images))
        known = [self._find_facts(image) for image in images]
        written = report_files.write(
            self._folder,
            plan,
            known,
            report_files.Facts(
                descriptor=self._facts.descriptor,
                options=self._options,
                settings=settings,
                model=self._facts.path,
                views=self._load().views,
                thresholds=self._thresholds.of_class,
                failures=failures,
                compared_with=found.compared_with,
            ),
        )
        self._store_manifest(plan, counts)
        self._clean(plan)
        return self._finish(images, failures, written)

    def _finish(
        self,
        images: Sequence[unlabeled.UnlabeledImage],
        failures: list[unlabeled.Failure],
        written: dict[str, Any],
    ) -> Labelled:
        return Labelled(
            str(self._folder / f"{self._options.split}-*.tfrecord"),
            len(images),
            failures,
            written,
            self._labeller.seconds if self._labeller else 0.0,
        )

    def _describe_settings(
        self, images: Sequence[unlabeled.UnlabeledImage]
    ) -> str:
        """Returns what labels depend on besides their image, as a checksum."""
        names = hashlib.sha256()
        if self._options.class_balance < 1:
            # Thresholds depend on the images.
            names.update("\n".join(i.version for i in images).encode())
        lines = [
            str(_FORMAT),
            models.identify(self._facts)["fingerprint"],
            repr(self._options.deciding()),
            self._exif,
            "" if self._mask is None else self._mask.identify(),
            names.hexdigest(),
        ]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def _choose_thresholds(
        self, images: Sequence[unlabeled.UnlabeledImage], settings: str
    ) -> selection.Thresholds:
        """Returns the thresholds; measures them where classes are balanced."""
        limits = [0.0] * self._facts.descriptor.num_classes
        if self._options.class_balance < 1:
            limits = balancing.find_thresholds(
                images,
                self._options.class_balance,
                load=self._load,
                mask=self._mask,
                memory=balancing.Memory(
                    self.hidden("thresholds.json"), settings
                ),
                report=self._report,
            )
        return selection.combine(self._options.confidence_threshold, limits)

    def _make_item(self, image: unlabeled.UnlabeledImage) -> Item:
        return Item(
            image.name,
            lambda: self._label(image),
            image.inputs,
            sequence=image.sequence,
        )

    def _label(self, image: unlabeled.UnlabeledImage) -> Sample:
        """Labels an image and notes its facts."""
        if self._labeller is None:
            raise ValueError("The model is not loaded yet.")
        encoded = image.load()
        labels = self._labeller.label(encoded.pixels)
        descriptor = self._facts.descriptor
        panoptic = selection.apply(
            labels.panoptic,
            descriptor,
            mask=self._mask,
            thresholds=self._thresholds,
            confidence_hw=labels.confidence,
        )
        facts = image_facts.measure(
            image.full_name, panoptic, labels, descriptor
        )
        if self._journal is None:
            raise ValueError("There is no journal yet.")
        self._journal.add(facts)
        return Sample(
            image.name,
            encoded.content,
            encoded.file_format,
            facts.size,
            panoptic,
            Counter(facts.instances),
            0,
            encoded.is_converted,
            note=encoded.note,
        )

    def _write_records(
        self, plan: shards.Plan, count: int
    ) -> list[shard_counts.ShardCounts]:
        def write_missing(
            plan: shards.Plan,
            descriptor: DatasetDescriptor,
            counts: list[shard_counts.ShardCounts | None],
            advance: Callable[[int], None],
        ) -> None:
            num_threads = 1
            if None in counts:
                num_threads += self._load().num_replicas
            # Threads of this process, which share the model.
            with Pool(1, num_threads) as pool:
                shards.write_here(plan, descriptor, counts, advance, pool=pool)

        with self._report.phase("Labelling", count, unit="images") as phase:
            return shards.write_split(
                plan, self._facts.descriptor, write_missing, phase.advance
            )

    def _find_facts(
        self, image: unlabeled.UnlabeledImage
    ) -> image_facts.ImageFacts:
        """Returns the facts of an image whose record is written."""
        if self._journal is None:
            raise ValueError("There is no journal yet.")
        if self._journal.find(image.full_name) is None:
            self._load()
            self._label(image)  # Lost, as after a loss of power.
        found = self._journal.find(image.full_name)
        if found is None:
            raise ValueError(f"{image.full_name} has no facts.")
        return found

    def _store_manifest(
        self,
        plan: shards.Plan,
        counts: Sequence[shard_counts.ShardCounts],
    ) -> None:
        descriptor = self._facts.descriptor
        paths = [str(self._folder / name) for name in plan.names]
        manifest.store(
            plan,
            counts,
            shard_counts.add_up(counts, paths),
            descriptor,
            {
                "dataset": descriptor.name,
                "label_divisor": descriptor.label_divisor,
                "ignore_label": descriptor.ignore_label,
            },
        )

    def _clean(self, plan: shards.Plan) -> None:
        """Removes what was needed to go on."""
        if self._journal is not None:
            self._journal.close()
        shards.remove_work(plan.target)
        for name in ("facts.jsonl", "thresholds.json"):
            self.hidden(name).unlink(missing_ok=True)
        shutil.rmtree(self.hidden("frames"), ignore_errors=True)
