# SPDX-License-Identifier: Apache-2.0
"""Writes the page of a check of data, and its numbers as JSON."""

import pathlib

from deeplab2_like import errors
from deeplab2_like.recipes.inspection import samples
from deeplab2_like.recipes.inspection.checked import Checked
from deeplab2_like.reports import installation
from deeplab2_like.reports.data_check import DataReport, SampleImage
from deeplab2_like.storage import json_files, whole_files

REPORT_FILE = "report.html"
METRICS_FILE = "metrics.json"


def check_folder(folder: pathlib.Path) -> None:
    """Checks that a report can be written; changes nothing.

    Args:
        folder: The folder.

    Raises:
        errors.ConfigError: It is a file.
        errors.InstallError: Jinja2 is not installed.
    """
    installation.check()
    if folder.exists() and not folder.is_dir():
        raise errors.ConfigError(
            f"--report={folder} is a file. Give a folder, in which "
            f"{REPORT_FILE} and {METRICS_FILE} are written."
        )


def write(
    checked: Checked, folder: pathlib.Path, count: int = samples.NUM_SAMPLES
) -> pathlib.Path:
    """Writes the page and the numbers, each completely or not at all.

    Args:
        checked: What was found.
        folder: Folder of both files; earlier ones are replaced.
        count: Most images that are drawn.

    Returns:
        Path of the page.
    """
    # Checks without a report do without Jinja2.
    from deeplab2_like.reports import data_page

    drawn: list[SampleImage] = []
    colors: list[tuple[str, samples.Color]] = []
    if checked.load is not None and count:
        drawn, colors = samples.draw(checked.evidence, checked.load, count)
    metrics = json_files.to_plain(checked.check.to_metrics())
    page = data_page.render(DataReport(checked.check, metrics, drawn, colors))
    json_files.write_json(folder / METRICS_FILE, metrics)
    path = folder / REPORT_FILE
    whole_files.write_text(path, page)
    return path
