# SPDX-License-Identifier: Apache-2.0
"""The table of tuned settings, and the files with them."""

import pathlib
from typing import Any

from google.protobuf import text_format

from deeplab2_like.protos import config_pb2
from deeplab2_like.storage import any_files, json_files, whole_files
from deeplab2_like.trainer import tuning
from deeplab2_like.trainer.tuning_search import Part

CONFIG_FILE = "tuned.textproto"
RESULTS_FILE = "tuning.json"

_WARNING = (
    "warning: the values were chosen on the same images that they are scored "
    "on, so that the gain on other images is smaller; the two-fold check says "
    "how much of it remains."
)


def describe(tuned: tuning.Tuned) -> str:
    """Returns the changes and their gains as a text table."""
    found = tuned.found[Part.ALL]
    width = max(len(_short(path)) for path in tuned.start) + 2
    before, after = _both(tuned, Part.ALL, Part.ALL)
    lines = [f"{'setting':{width}}{'from':>8}{'to':>8}{'PQ':>8}{'gain':>8}"]
    lines.append(f"{'as in the config':{width}}{'':16}{100 * before:8.2f}")
    lines += [
        f"{_short(change.name):{width}}{change.old:>8g}{change.new:>8g}"
        f"{100 * change.after:8.2f}{100 * change.gain:+8.2f}"
        for change in found.changes
    ]
    changed = {change.name for change in found.changes}
    lines += [
        f"{_short(path):{width}}{value:>8g}{'stays':>8}"
        for path, value in tuned.start.items()
        if path not in changed
    ]
    lines.append(
        f"{'together':{width}}{'':16}{100 * after:8.2f}"
        f"{100 * (after - before):+8.2f}"
    )
    return "\n".join(lines)


def describe_check(tuned: tuning.Tuned) -> list[str]:
    """Returns sentences about what the gain is worth."""
    rows = _list_folds(tuned)
    if not rows:
        return [
            _WARNING.partition(";")[0] + ". A two-fold check needs labels in "
            "both halves of the images."
        ]
    before = sum(row["before"] for row in rows) / 2
    after = sum(row["after"] for row in rows) / 2
    ways = ", ".join(
        f"{100 * row['before']:.2f} to {100 * row['after']:.2f} on the "
        f"{row['scored_on']}"
        for row in rows
    )
    return [
        _WARNING,
        "Two-fold check, values chosen on one half of the images and scored on "
        f"the other: PQ {100 * before:.2f} to {100 * after:.2f} "
        f"({100 * (after - before):+.2f}), the mean of {ways}.",
    ]


def write(
    tuned: tuning.Tuned,
    options: config_pb2.ExperimentOptions,
    prefix: str,
    step: int,
    *,
    model_dir: str,
) -> str:
    """Writes the config with the values that were chosen, and all numbers.

    Args:
        tuned: What was found.
        options: The config that was tuned.
        prefix: Prefix of the checkpoint.
        step: Step of the checkpoint.
        model_dir: The model folder.

    Returns:
        Path of the config.
    """
    json_files.write_json(
        f"{model_dir}/eval/{RESULTS_FILE}",
        {"checkpoint": prefix, "step": step, **list_results(tuned)},
    )
    before, after = _both(tuned, Part.ALL, Part.ALL)
    path = any_files.join(model_dir, CONFIG_FILE)
    settings = tuned.found[Part.ALL].settings
    complete = tuning.with_settings(options, settings)
    _place_descriptors(complete, model_dir)
    whole_files.write_text(
        path,
        f"# Tuned by deeplab2-evaluate --tune on {tuned.num_images} images, "
        f"with {prefix}:\n# PQ {100 * before:.2f} -> {100 * after:.2f} on the "
        f"same images. See eval/{RESULTS_FILE}.\n"
        f"{text_format.MessageToString(complete)}",
    )
    return path


def describe_use(path: str) -> str:
    """Returns a sentence that says how the config that was written is used.

    Args:
        path: Its path or address.
    """
    start = f"The config with these values is {path}: "
    if any_files.is_remote(path):
        start += "copy it, with the descriptors beside it, to a folder and "
    return (
        f"{start}give it as --config_file to deeplab2-evaluate and "
        "deeplab2-export."
    )


def list_results(tuned: tuning.Tuned) -> dict[str, Any]:
    """Returns all numbers by name; see `runs.tune`."""
    before, after = _both(tuned, Part.ALL, Part.ALL)
    found = tuned.found[Part.ALL]
    return {
        "num_images": tuned.num_images,
        "before": before,
        "after": after,
        "settings": [
            {"field": path, "from": value, "to": found.settings[path]}
            for path, value in tuned.start.items()
        ],
        "changes": [
            {
                "field": change.name,
                "from": change.old,
                "to": change.new,
                "before": change.before,
                "after": change.after,
                "gain": change.gain,
            }
            for change in found.changes
        ],
        "two_fold": _list_folds(tuned),
        "tried": [
            {
                **{_short(path): value for path, value in settings.items()},
                "PQ": scores[Part.ALL],
            }
            for settings, scores in tuned.tried
        ],
    }


def _list_folds(tuned: tuning.Tuned) -> list[dict[str, Any]]:
    """Returns a row for each half that is scored; [] if one has no labels."""
    rows = []
    for scored, source in (
        (Part.SECOND_HALF, Part.FIRST_HALF),
        (Part.FIRST_HALF, Part.SECOND_HALF),
    ):
        before, after = _both(tuned, scored, source)
        if not (before >= 0 and after >= 0):  # NaN.
            return []
        rows.append(
            {
                "scored_on": scored.name.lower().replace("_", " "),
                "chosen": dict(tuned.found[source].settings),
                "before": before,
                "after": after,
            }
        )
    return rows


def _both(
    tuned: tuning.Tuned, scored: Part, source: Part
) -> tuple[float, float]:
    """Returns the qualities before and after on a part."""
    return tuned.scores[scored, None], tuned.scores[scored, source]


def _short(path: str) -> str:
    return path.rpartition(".")[2]


def _place_descriptors(
    options: config_pb2.ExperimentOptions, folder: str
) -> None:
    """Names descriptors in a folder as a config in that folder does.

    Those of a config that was loaded from an address are copies: the ones in
    the folder are meant.
    """
    for split in (options.train_dataset_options, options.eval_dataset_options):
        if not split.dataset.endswith(".textproto"):
            continue
        file = pathlib.Path(split.dataset).resolve()
        own = any_files.join(folder, file.name)
        is_inside = any_files.exists(own) and (
            any_files.read_bytes(own) == file.read_bytes()
        )
        split.dataset = file.name if is_inside else str(file)
