# SPDX-License-Identifier: Apache-2.0
"""Predicts images with an exported model, as a pipeline of Apache Beam.

    deeplab2-predict-beam --model=SAVED INPUT... --out=RESULTS -- --runner=NAME

For sets of images that are too large for one machine. An INPUT is an image, a
folder of this machine, a TFRecord file or a pattern of these, also at an
address that Beam reads (gs://, s3://, hdfs://). What follows -- are options of
Beam, which choose the runner. Written are NAME.panoptic.png for each image,
shards/*.json, and panoptic.json, which joins these, in COCO's panoptic format.
"""

import json
import shlex
from collections.abc import Sequence
from typing import Any

from absl import flags

from deeplab2_like import errors
from deeplab2_like.console import (
    beam_pipelines,
    path_flags,
    program,
    progress,
)
from deeplab2_like.predict import files, models
from deeplab2_like.storage import json_files

_FLAGS = flags.FlagValues()
RUN_FILE = "run.json"
_MAX_NAMED = 10

_MODEL = path_flags.define(
    "model",
    None,
    "Folder of the model that deeplab2-export wrote, which every worker can "
    "read. Required.",
    flag_values=_FLAGS,
    holds_checkpoint=True,
)
_OUT = path_flags.define(
    "out",
    None,
    "Folder of the results, which every worker can write to. Required.",
    flag_values=_FLAGS,
)
_IMAGE_JSON = path_flags.define(
    "image_json",
    None,
    "JSON file of the ground truth in COCO's format, whose image ids are taken "
    "by file name; by default the ids are the file names.",
    flag_values=_FLAGS,
)
_EXIF = flags.DEFINE_enum(
    "exif",
    "apply",
    ("apply", "ignore"),
    "Whether image files are turned upright as their EXIF orientation says.",
    flag_values=_FLAGS,
)
_NUM_SHARDS = flags.DEFINE_integer(
    "num_shards",
    10,
    "Number of JSON files that are joined into panoptic.json; the entries of "
    "one must fit into the memory of a worker.",
    lower_bound=1,
    flag_values=_FLAGS,
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite",
    False,
    "Write to a folder that holds results of another model, of other options "
    "or other files, and replace those of the same names.",
    flag_values=_FLAGS,
)


def _main(arguments: Sequence[str]) -> None:
    model = program.require(_MODEL, "what deeplab2-export wrote", "saved")
    out = program.require(_OUT, "the folder of the results", "predictions")
    out = out.rstrip("/") or "/"
    inputs, options = beam_pipelines.split(arguments)
    if not inputs:
        raise errors.ConfigError(
            "No image is given. Name images, folders or patterns, for example "
            f"deeplab2-predict-beam --model={shlex.quote(model)} "
            f"'photos/*.jpg' --out={shlex.quote(out)}."
        )
    image_ids = None
    if _IMAGE_JSON.value:
        image_ids = files.load_image_ids(_IMAGE_JSON.value)
    report = progress.Progress()
    count, failures = predict(
        model,
        inputs,
        out,
        options,
        num_shards=_NUM_SHARDS.value,
        upright=_EXIF.value == "apply",
        image_ids=image_ids,
        overwrite=_OVERWRITE.value,
    )
    report.log(f"{count} image(s) predicted by {model}")
    report.log(f"COCO-panoptic {out}/{files.JSON_FILE}")
    if failures:
        for failure in failures[:_MAX_NAMED]:
            report.log(f"Left out: {failure['problem']}")
        raise errors.DataError(
            f"{len(failures)} of {count + len(failures)} images could not be "
            f"read and were left out; {out}/{files.FAILURES_FILE} lists them."
        )


def predict(
    model: str,
    inputs: Sequence[str],
    out: str,
    beam_options: Sequence[str] = (),
    *,
    num_shards: int = 10,
    upright: bool = True,
    image_ids: dict[str, int | str] | None = None,
    overwrite: bool = False,
) -> tuple[int, list[dict[str, str]]]:
    """Predicts images by a pipeline and waits for it.

    Args:
        model: Folder that deeplab2-export wrote.
        inputs: Files, folders and patterns; see `beam_files.to_input`.
        out: Folder of the results.
        beam_options: Options of Beam, for example "--runner=DirectRunner".
        num_shards: See `beam_pipeline.Job`.
        upright: Whether the EXIF orientation of image files is applied.
        image_ids: Ids of the images by name; None where names decide.
        overwrite: Whether `out` may hold other files.

    Returns:
        Number of images in `out/panoptic.json`; source and problem of each
        that was left out.

    Raises:
        InstallError: Apache Beam is not installed.
        ExportError: The model cannot be used.
        DataError: No file matches an input, no image can be read, the
            pipeline failed, or `out` holds other files.
    """
    try:
        from deeplab2_like.predict import beam_files, beam_pipeline
    except ImportError as error:
        raise errors.InstallError(
            f"The pipeline needs the package {error.name}. Install it in an "
            "environment of its own with: pip install 'deeplab2-like[beam]'"
        ) from error
    found = [beam_files.to_input(entry) for entry in inputs]
    # Workers may have another working directory.
    model, out = beam_files.to_absolute(model), beam_files.to_absolute(out)
    facts = models.load_facts(beam_files.fetch_folder(model))
    if facts.config is not None:
        raise errors.ExportError(
            f"{model} is a training. Workers need a model that deeplab2-export "
            "wrote: export it."
        )
    _claim(beam_files, out, models.identify(facts), upright, overwrite)
    job = beam_pipeline.Job(
        model=model,
        inputs=found,
        out=out,
        descriptor=facts.descriptor,
        max_pixels=facts.max_pixels,
        num_shards=num_shards,
        upright=upright,
        image_ids=image_ids,
    )
    _run(job, beam_options)
    beam_files.remove_partials(out)
    return _read_results(beam_files, out)


def _claim(
    beam_files: Any,
    out: str,
    identity: dict[str, str],
    upright: bool,
    overwrite: bool,
) -> None:
    """Notes the model and the options in the folder, or refuses it."""
    path = f"{out}/{RUN_FILE}"
    header = {"model": identity["fingerprint"], "upright": upright}
    if not overwrite and not beam_files.is_empty(out):
        fix = "Give another --out, or --overwrite to replace files."
        if not beam_files.exists(path):
            raise errors.DataError(
                f"{out} holds files that this program did not write. {fix}"
            )
        try:
            earlier = json.loads(beam_files.read_file(path))
        except ValueError:
            earlier = None
        if earlier != header:
            raise errors.DataError(
                f"{out} holds results of another model or of another --exif. "
                f"{fix}"
            )
    for name in (files.JSON_FILE, files.FAILURES_FILE, beam_files.SHARD_FOLDER):
        beam_files.remove(f"{out}/{name}")
    beam_files.write_file(out, RUN_FILE, json_files.to_line(header).encode())


def _run(job: Any, options: Sequence[str]) -> None:
    from deeplab2_like.predict import beam_pipeline

    pipeline = beam_pipelines.open_pipeline(options)
    beam_pipeline.build(pipeline, job)
    beam_pipelines.run(pipeline, "runs it again")


def _read_results(
    beam_files: Any, out: str
) -> tuple[int, list[dict[str, str]]]:
    """Returns the number of images and the failures; see `predict`."""
    failures: list[dict[str, str]] = []
    path = f"{out}/{files.FAILURES_FILE}"
    if beam_files.exists(path):
        failures = json.loads(beam_files.read_file(path))
    if not beam_files.exists(f"{out}/{files.JSON_FILE}"):
        problem = "The inputs hold no image."
        raise errors.DataError(failures[0]["problem"] if failures else problem)
    shards = beam_files.to_input(f"{out}/{beam_files.SHARD_FOLDER}/*.json")
    count = sum(
        len(json.loads(beam_files.read_file(path))["images"])
        for path in beam_files.list_files(shards)
    )
    return count, failures


def cli() -> None:
    """Predicts files by a pipeline (console command deeplab2-predict-beam)."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
