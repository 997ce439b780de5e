# SPDX-License-Identifier: Apache-2.0
"""Evaluates models at the original sizes of images, for Orbit."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from deeplab2_like.console import progress
from deeplab2_like.meta_architectures import contract
from deeplab2_like.results import original_size
from deeplab2_like.trainer import (
    evaluated_sizes,
    evaluator,
    optimizers,
    prediction_saver,
    replica_batches,
    report_writer,
    scores,
)

_NO_LABELS = (
    "Nothing was scored: eval_dataset_options.decode_groundtruth_label is "
    "false."
)


@dataclasses.dataclass(frozen=True)
class ScoreOptions:
    """Options of the scores of an evaluation.

    Attributes:
        has_labels: Whether the images have labels; if not, they are only
            predicted.
        pq_variant: Variant of the panoptic quality; see `PanopticQuality`.
        detailed_ap: Whether all twelve numbers of COCO's mask AP are
            summaries, not only the main one.
        report: What to report on an HTML page; None for no page.
        size_rules: What the images' sizes are compared with; None for no
            warning of images that are made smaller.
    """

    has_labels: bool = True
    pq_variant: str = "panopticapi"
    detailed_ap: bool = False
    size_rules: evaluated_sizes.SizeRules | None = None
    report: report_writer.ReportOptions | None = None


class Evaluator(evaluator.BaseEvaluator):
    """An evaluator of a model; create it in the strategy's scope."""

    def __init__(
        self,
        system: contract.MetaArchitecture,
        model: keras.Model,
        make_dataset: Callable[[], tf.data.Dataset],
        *,
        write_results: Callable[[Mapping[str, Any]], None] | None = None,
        scoring: ScoreOptions | None = None,
        make_saver: Callable[[], prediction_saver.PredictionSaver]
        | None = None,
        average: optimizers.AveragedWeights | None = None,
        report: progress.Progress | None = None,
    ):
        """Creates the evaluator.

        Args:
            system: System of the model, with losses and post-processing.
            model: The model that `system` built.
            make_dataset: Function that makes the evaluation batches, from the
                beginning; see `data.pipeline.make_evaluation_dataset`.
            write_results: Function that writes the results of an evaluation
                with labels; they are not written when None.
            scoring: Options of the scores; the defaults when None.
            make_saver: Function that makes the saver of predictions of an
                evaluation; nothing is saved when None.
            average: Weights to evaluate in place of the model's own.
            report: Display of the progress; on standard error when None.
        """
        super().__init__(average, write_results or (lambda _: None))
        self._system = system
        self._model = model
        self._make_dataset = make_dataset
        self._scoring = scoring or ScoreOptions()
        self._make_saver = make_saver or (
            lambda: prediction_saver.PredictionSaver(system.descriptor)
        )
        self._progress = report or progress.Progress()
        self._batches = replica_batches.ReplicaBatches(
            self._replica_step, tf.distribute.get_strategy()
        )
        self._postprocess = tf.function(
            system.postprocess, jit_compile=True, autograph=False
        )
        if self._scoring.report is not None:
            self._postprocess_with_truth = tf.function(
                system.postprocess_with_truth,
                jit_compile=True,
                autograph=False,
            )

    def _evaluate(self, num_batches: int) -> dict[str, float]:
        options = self._scoring
        found = scores.Scores(
            self._system,
            pq_variant=options.pq_variant,
            detailed_ap=options.detailed_ap,
        )
        rules = options.size_rules
        sizes = evaluated_sizes.EvaluatedSizes(rules) if rules else None
        saver = self._make_saver()
        writer = None
        if options.report is not None and options.has_labels:
            writer = report_writer.ReportWriter(self._system, options.report)
        dataset = self._make_dataset()
        if num_batches >= 0:
            dataset = dataset.take(num_batches)
        total = int(dataset.cardinality())
        images = 0
        with self._progress.phase(
            "Evaluating", total if total >= 0 else None, unit="batches"
        ) as phase:
            for done, (batch, outputs) in enumerate(
                self._batches.run(dataset), 1
            ):
                for image in original_size.restore_images(batch, outputs):
                    if options.has_labels:
                        numbers = found.update(image)
                        if writer is not None:
                            writer.add_image(image, numbers)
                    saver.add(image)
                found.update_losses(outputs["losses"])
                if writer is not None:
                    writer.add_oracles(batch, outputs)
                if sizes is not None:
                    sizes.add_batch(batch)
                images += len(batch["name"])
                phase.advance(done, images=images)
                self.after_batch(done)
        for line in saver.describe():
            self._progress.log(line)
        warnings = sizes.warnings() if sizes is not None else []
        if not options.has_labels:
            warnings = [_NO_LABELS, *warnings]
            self.results = {"summaries": {}, "warnings": warnings}
            return {}
        results = found.results()
        results["warnings"] += warnings
        if writer is not None:
            results |= writer.results()
        summaries = self._finish(results)
        if writer is not None:
            self._progress.log(f"The report is {writer.write()}")
        return summaries

    def _replica_step(self, inputs: replica_batches.Batch) -> dict[str, Any]:
        images = inputs["image"]
        targets = inputs["targets"] if self._scoring.has_labels else None
        outputs = self._system.infer(self._model, images, targets=targets)
        losses: dict[str, tf.Tensor] = {}
        if targets is not None:
            losses = self._system.compute_losses(outputs, targets)
        canvas_size = (images.shape[1], images.shape[2])
        prediction = self._postprocess(
            outputs, canvas_size, inputs["valid_size"]
        )
        results = {"losses": losses, **prediction.as_dict()}
        is_reported = targets is not None and self._scoring.report is not None
        if is_reported and self._system.oracles:
            results["oracles"] = self._postprocess_with_truth(
                outputs,
                targets,
                prediction.semantic,
                canvas_size,
                inputs["valid_size"],
            )
        return results
