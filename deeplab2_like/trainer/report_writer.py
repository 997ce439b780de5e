# SPDX-License-Identifier: Apache-2.0
"""Collects what the report of an evaluation shows, and writes the page."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from deeplab2_like.meta_architectures import contract
from deeplab2_like.reports import comparison, report
from deeplab2_like.reports import evaluation as evaluation_lib
from deeplab2_like.results import original_size
from deeplab2_like.storage import any_files, whole_files
from deeplab2_like.trainer import report_statistics, worst_images

REPORT_FILE = "report.html"


@dataclasses.dataclass(frozen=True)
class ReportOptions:
    """What a report is about.

    Attributes:
        model_dir: The model folder, where `eval/metrics.json` is written.
        pq_variant: Variant of the panoptic quality; see `PanopticQuality`.
        compare_with: Folder of another run to compare with; "" for none.
    """

    model_dir: str
    pq_variant: str = "panopticapi"
    compare_with: str = ""


class ReportWriter:
    """Collects the images of one evaluation and writes its report.

    Memory does not grow with the number of images.
    """

    def __init__(
        self, system: contract.MetaArchitecture, options: ReportOptions
    ):
        """Starts without images.

        Args:
            system: System of the model.
            options: What the report is about.

        Raises:
            ConfigError: There are no numbers of the run to compare with.
            DataError: They are damaged.
        """
        self._options = options
        self._has_instances = system.has_instances
        self._worst = worst_images.WorstImages(system.descriptor)
        self._statistics = report_statistics.ReportStatistics(
            system.descriptor,
            variant=options.pq_variant,
            oracles=system.oracles,
        )
        self._other: evaluation_lib.Evaluation | None = None
        self._scores: dict[str, float | None] = {}
        if options.compare_with:
            self._other = evaluation_lib.load_evaluation(options.compare_with)
            self._scores = {image.name: None for image in self._other.images}

    def add_image(
        self, image: original_size.RestoredImage, numbers: Mapping[str, Any]
    ) -> None:
        """Adds an image.

        Args:
            image: The restored image.
            numbers: Its "PQ" and "mIoU", as `Scores.update` returns them.
        """
        self._worst.add(image, numbers["PQ" if self._has_instances else "mIoU"])
        if self._has_instances:
            self._statistics.add_image(image)
        if self._other is not None and image.name in self._scores:
            both = self._has_instances and self._other.has_instances
            self._scores[image.name] = numbers["PQ" if both else "mIoU"]

    def add_oracles(
        self, batch: Mapping[str, Any], outputs: Mapping[str, Any]
    ) -> None:
        """Adds the results with true maps of a batch, if there are any."""
        if "oracles" in outputs:
            self._statistics.add_oracles(batch, outputs)

    def results(self) -> dict[str, Any]:
        """Returns the additional numbers of `eval/metrics.json`."""
        return self._statistics.results() if self._has_instances else {}

    def write(self) -> str:
        """Writes the page beside `eval/metrics.json`, from its numbers.

        Returns:
            Path of the page.
        """
        # Evaluations without a report do without Jinja2.
        from deeplab2_like.reports import page

        folder = self._options.model_dir
        metrics, where = evaluation_lib.load_metrics(folder)
        found = evaluation_lib.read_evaluation(metrics, where)
        by_name = {image.name: image for image in found.images}
        compared = None
        if self._other is not None:
            compared = comparison.Comparison(
                name_run(self._options.compare_with),
                self._other,
                self._scores,
            )
        shown = report.Report(
            name=name_run(folder),
            evaluation=found,
            data=metrics,
            drawn=[
                report.DrawnImage(by_name[name], pictures)
                for name, pictures in self._worst
                if name in by_name
            ],
            colors=self._worst.list_colors(),
            compared=compared,
        )
        path = any_files.join(folder, f"eval/{REPORT_FILE}")
        whole_files.write_text(path, page.render(shown))
        return path


def name_run(folder: str) -> str:
    """Returns the name of a run: the last part of the path of its folder."""
    if any_files.is_remote(folder):
        return folder.rstrip("/").rpartition("/")[2]
    return pathlib.Path(os.path.abspath(folder)).name or folder
