# SPDX-License-Identifier: Apache-2.0
"""Options of Apache Beam behind `--`, and pipelines that are run with them."""

from collections.abc import Sequence
from typing import Any

from deeplab2_like import errors


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Splits arguments into those of a program and Beam's behind them."""
    for number, argument in enumerate(arguments):
        if argument.startswith("-"):
            return list(arguments[:number]), list(arguments[number:])
    return list(arguments), []


def open_pipeline(options: Sequence[str]) -> Any:
    """Opens a pipeline; Apache Beam is installed.

    Args:
        options: Options of Beam, for example "--runner=DirectRunner".

    Raises:
        ConfigError: Beam cannot use them.
    """
    import apache_beam as beam
    from apache_beam.options import pipeline_options

    try:
        parsed = pipeline_options.PipelineOptions(list(options))
        return beam.Pipeline(options=parsed)
    except Exception as error:  # Each runner has errors of its own.
        raise errors.ConfigError(
            f"Beam cannot use the options behind --: {_last_line(error)}"
        ) from error


def run(pipeline: Any, again: str) -> None:
    """Runs a pipeline to its end.

    Args:
        pipeline: The pipeline.
        again: What the same command does after a failure, for example "goes
            on where it was".

    Raises:
        DataError: It failed.
    """
    try:
        pipeline.run().wait_until_finish()
    except Exception as error:  # Each runner has errors of its own.
        raise errors.DataError(
            f"The pipeline failed: {_last_line(error)} The same command "
            f"{again}; --debug shows where it failed."
        ) from error


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1][:300]
