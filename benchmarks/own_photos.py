# SPDX-License-Identifier: Apache-2.0
r"""Times the way from a folder of photos to pictures, command by command.

    python benchmarks/own_photos.py [--photos=PHOTOS] [--results_folder=FOLDER]

Runs the three commands of docs/your_own_data.md as a user does, in processes of
their own, prints the time of each phase and the PQ of the images that were set
aside, and compares the sum with 15 minutes. Without --photos it draws 40
scenes.
"""

import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence

from absl import flags

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import reporting  # noqa: E402
from deeplab2_like import errors  # noqa: E402
from deeplab2_like.console import path_flags, program  # noqa: E402
from deeplab2_like.recipes.choice import SYSTEMS, Wishes  # noqa: E402
from deeplab2_like.scenes import records as scenes_records  # noqa: E402

_DATA = path_flags.define(
    "photos", None, "COCO-panoptic folder; 40 drawn scenes when not given."
)
_WORK = path_flags.define(
    "results_folder",
    None,
    "Folder of all results, which must be new; a temporary one, which is "
    "removed, when not given.",
    holds_checkpoint=True,
)
_SYSTEM = flags.DEFINE_enum("system", SYSTEMS[0], SYSTEMS, "System to train.")
_MINUTES = flags.DEFINE_float(
    "training_minutes", Wishes.minutes, "As of deeplab2-new.", lower_bound=0.1
)
_LIMIT = flags.DEFINE_float("limit_minutes", 15.0, "Time that is allowed.")
_COUNT = flags.DEFINE_integer(
    "num_scenes", 40, "Scenes to draw.", lower_bound=2
)
_SIZE = flags.DEFINE_list(
    "scene_size", ["257", "513"], "Their height and width."
)

# What a line begins with, and the phase that begins with it, by command.
_NEW = {"": "look", "Converting ...": "convert"}
_TRAIN = {
    "": "start-up and tracing",
    "Training ...": "steps",
    "Evaluating ...": "evaluation",
}
_PREDICT = {"": "load", "Predicting ...": "predict and draw"}


@dataclasses.dataclass(frozen=True)
class Phase:
    """A part of a command.

    Attributes:
        command: Name of the command.
        name: Name of the part.
        seconds: Time that it took.
    """

    command: str
    name: str
    seconds: float


def time_phases(
    name: str, command: Sequence[str], starts: Mapping[str, str]
) -> tuple[list[Phase], list[str]]:
    """Runs a command and times its phases.

    Args:
        name: Name of the command.
        command: The command.
        starts: Phases by what the first line of each begins with; that of ""
            begins with the process.

    Returns:
        The phases in the order in which they began, and the lines.

    Raises:
        errors.UserError: The command failed.
    """
    seconds: dict[str, float] = {}
    lines: list[str] = []
    phase, since = starts[""], time.monotonic()

    def end_phase() -> None:
        nonlocal since
        now = time.monotonic()
        seconds[phase] = seconds.get(phase, 0.0) + now - since
        since = now

    with subprocess.Popen(
        command,
        cwd=sys.path[0],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        for line in process.stdout or ():
            lines.append(line.rstrip())
            for start, following in starts.items():
                if start and line.startswith(start):
                    end_phase()
                    phase = following
    end_phase()
    if process.returncode:
        raise errors.UserError(
            f"{name} failed with code {process.returncode}: "
            + "\n".join(lines[-5:])
        )
    return [Phase(name, key, value) for key, value in seconds.items()], lines


def run_walk(
    data: pathlib.Path, work: pathlib.Path, system: str, minutes: float
) -> tuple[list[Phase], dict[str, float], str]:
    """Runs the three commands.

    Args:
        data: The COCO-panoptic folder.
        work: Folder of the results.
        system: As of deeplab2-new.
        minutes: As of deeplab2-new.

    Returns:
        The phases; PQ, SQ and RQ of all classes; and what was trained.
    """
    python = [sys.executable, "-u", "-m"]
    phases, lines = time_phases(
        "deeplab2-new",
        [
            *python,
            "deeplab2_like.recipes.new_main",
            f"--data={data}",
            f"--out={work}",
            f"--system={system}",
            f"--minutes={minutes}",
        ],
        _NEW,
    )
    about = next(line for line in lines if line.startswith("Training "))
    phases += time_phases(
        "deeplab2-train",
        [
            *python,
            "deeplab2_like.trainer.main",
            f"--config_file={work / 'config.textproto'}",
            f"--model_dir={work / 'run'}",
            "--mode=train_and_eval",
        ],
        _TRAIN,
    )[0]
    phases += time_phases(
        "deeplab2-predict",
        [
            *python,
            "deeplab2_like.predict.main",
            f"--model={work / 'run'}",
            lines[-1].split()[2],
            f"--out={work / 'pictures'}",
        ],
        _PREDICT,
    )[0]
    metrics = work / "run" / "eval" / "metrics.json"
    content = json.loads(metrics.read_text(encoding="utf-8"))
    return phases, content["groups"]["all"], about


def _draw(folder: pathlib.Path) -> pathlib.Path:
    height, width = (int(side) for side in _SIZE.value)
    scenes_records.write_coco(
        folder, "train", _COUNT.value, size=(height, width)
    )
    return folder


def _main(arguments: Sequence[str]) -> None:
    program.refuse_arguments(arguments)
    temporary = pathlib.Path(tempfile.mkdtemp(prefix="own_photos"))
    try:
        data = pathlib.Path(_DATA.value or _draw(temporary / "photos"))
        work = pathlib.Path(_WORK.value or temporary / "mine")
        phases, quality, about = run_walk(
            data.absolute(), work.absolute(), _SYSTEM.value, _MINUTES.value
        )
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    machine = reporting.describe_machine()["machine"]
    print(f"{machine['processor']}, {machine['cores']} cores")
    print(about)
    for phase in phases:
        print(f"{phase.command:18}{phase.name:22}{phase.seconds:8.1f} s")
    total = sum(phase.seconds for phase in phases) / 60
    verdict = "within" if total <= _LIMIT.value else "over"
    print(
        f"{'':18}{'altogether':22}{total:8.1f} min, {verdict} "
        f"{_LIMIT.value:g} min"
    )
    print(
        " ".join(f"{k} {100 * quality[k]:.1f}" for k in ("PQ", "SQ", "RQ"))
        + " on images that were set aside"
    )


if __name__ == "__main__":
    program.run(_main)
