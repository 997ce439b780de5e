# SPDX-License-Identifier: Apache-2.0
"""Kills a training at random moments and compares it with an undisturbed one.

    python benchmarks/killed_runs.py --kills=50
    python benchmarks/killed_runs.py --kills=20 --workers=2

A process gets SIGKILL, of several workers one by chance; the others have to end
by themselves. Then the same command starts again. The last weights have to be
those of a run that was left alone, bit for bit with one worker, whose steps are
deterministic. Needs no accelerator; a kill takes as long as a start.
"""

import dataclasses
import json
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import numpy as np
from absl import flags

_ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[0] = str(_ROOT)

from deeplab2_like import errors  # noqa: E402
from deeplab2_like.console import program  # noqa: E402

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()
_KILLS = flags.DEFINE_integer(
    "kills", 5, "Kills.", lower_bound=0, flag_values=_FLAGS
)
_WORKERS = flags.DEFINE_integer(
    "workers",
    1,
    "Processes of a run, all on this machine.",
    lower_bound=1,
    flag_values=_FLAGS,
)
_STEPS = flags.DEFINE_integer(
    "steps", 40, "Steps of a run.", lower_bound=4, flag_values=_FLAGS
)
_INTERVAL = flags.DEFINE_integer(
    "interval",
    4,
    "Steps between two checkpoints.",
    lower_bound=1,
    flag_values=_FLAGS,
)
_ASYNC = flags.DEFINE_bool(
    "async_checkpoints",
    False,
    "Whether checkpoints are written meanwhile.",
    flag_values=_FLAGS,
)
_SEED = flags.DEFINE_integer(
    "seed", 0, "Seed of the moments.", flag_values=_FLAGS
)

_CONFIG = "scenes/panoptic_deeplab_mobilenet_v3_small_os16"
# How long the other workers may take to end, and a start to its first steps.
_END_SECONDS = 300.0
_START_SECONDS = 900.0
_LOOK_SECONDS = 0.02


@dataclasses.dataclass(frozen=True)
class Plan:
    """The runs that are compared.

    Attributes:
        folder: Folder for records and runs.
        workers: Number of processes of a run.
        steps: Number of its steps.
        interval: Steps between two checkpoints.
        is_async: Whether checkpoints are written in the background.
    """

    folder: pathlib.Path
    workers: int
    steps: int
    interval: int
    is_async: bool

    def start(self, name: str) -> list["subprocess.Popen[str]"]:
        """Starts the processes of a run, or goes on with it.

        Args:
            name: Name of its folder.
        """
        addresses = [f"localhost:{port}" for port in _free_ports(self.workers)]
        processes = []
        for index in range(self.workers):
            cluster = {
                "cluster": {"worker": addresses},
                "task": {"type": "worker", "index": index},
            }
            environment = {
                **os.environ,
                "CUDA_VISIBLE_DEVICES": "-1",
                "TRAIN_SET": f"{self.folder}/train-*",
                "VAL_SET": f"{self.folder}/train-*",
                "PYTHONPATH": str(_ROOT),
            }
            if self.workers > 1:
                environment["TF_CONFIG"] = json.dumps(cluster)
            processes.append(
                subprocess.Popen(
                    [
                        sys.executable,
                        str(_ROOT / "trainer" / "main.py"),
                        f"--config_file={_CONFIG}",
                        f"--config_override={self._options()}",
                        f"--model_dir={self.folder / name}",
                    ],
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
        return processes

    def _options(self) -> str:
        is_async = str(self.is_async).lower()
        return (
            f"trainer_options {{ deterministic: true async_checkpoints: "
            f"{is_async} save_checkpoints_steps: {self.interval} "
            f"steps_per_loop: {self.interval} save_summaries_steps: "
            f"{self.interval} solver_options {{ training_number_of_steps: "
            f"{self.steps} warmup_steps: 2 }} }} train_dataset_options {{ "
            "batch_size: 2 crop_size: [65, 129] }"
        )

    def steps_saved(self, name: str) -> list[int]:
        """Lists the steps of the checkpoints in the folder of a run."""
        folder = self.folder / name
        return sorted(
            int(path.name.removeprefix("ckpt-").removesuffix(".index"))
            for path in folder.glob("ckpt-*.index")
        )

    def leftovers(self, name: str) -> list[str]:
        """Lists what is in the folders of a run that belongs to nothing."""
        found = []
        for folder in (self.folder / name, *self.folder.glob(f"{name}/work*")):
            steps = {path.stem for path in folder.glob("ckpt-*.index")}
            for path in folder.iterdir():
                stem = path.name.split(".")[0]
                is_part = ".data-" in path.name and stem not in steps
                is_partial = path.name.endswith(("_temp", ".partial"))
                is_lock = path.name.startswith("training.lock")
                if is_part or is_partial or is_lock or ".tmp" in path.name:
                    found.append(str(path.relative_to(self.folder)))
        return found


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for item in sockets:
            item.bind(("localhost", 0))
        return [int(item.getsockname()[1]) for item in sockets]
    finally:
        for item in sockets:
            item.close()


def _finish(processes: Sequence["subprocess.Popen[str]"]) -> str:
    """Waits for a run that nobody kills; returns what its chief printed."""
    outputs = [process.communicate()[0] for process in processes]
    for process, output in zip(processes, outputs, strict=True):
        if process.returncode:
            raise errors.TrainingError(
                f"A run ended with code {process.returncode}:\n{output[-3000:]}"
            )
    return outputs[0]


def check_continued(output: str, saved: int) -> None:
    """Checks that a run went on from the step that was saved last.

    Raises:
        TrainingError: It began anew, or at another step.
    """
    found = re.findall(r"^Continuing from .*ckpt-(\d+)", output, re.MULTILINE)
    if [int(step) for step in found] != [saved] * bool(saved):
        raise errors.TrainingError(
            f"Step {saved} was saved last, and the next start continued from "
            f"{', '.join(found) or 'none'}."
        )


def _kill_one(
    plan: Plan, name: str, delay: float, generator: random.Random
) -> str | None:
    """Starts a run and kills one of its processes.

    Args:
        plan: The runs.
        name: Name of the run's folder.
        delay: Seconds from the start to the kill.
        generator: Chooses the process.

    Returns:
        What the others said last; None if the run was over before.

    Raises:
        TrainingError: Another process did not end by itself, in one sentence.
    """
    processes = plan.start(name)
    victim = generator.randrange(len(processes))
    end = time.monotonic() + delay
    try:
        while time.monotonic() < end:
            if all(process.poll() is not None for process in processes):
                _finish(processes)
                return None
            time.sleep(_LOOK_SECONDS)
        processes[victim].send_signal(signal.SIGKILL)
        said = []
        for index, process in enumerate(processes):
            output = process.communicate(timeout=_END_SECONDS)[0]
            if index == victim:
                continue
            last = (output.strip().splitlines() or [""])[-1]
            if process.returncode == 0:
                return None
            if "Traceback" in output:
                raise errors.TrainingError(f"A traceback:\n{output[-3000:]}")
            said.append(f"{process.returncode}: {last}")
        return "; ".join(said)
    except subprocess.TimeoutExpired:
        raise errors.TrainingError(
            f"A worker did not end {_END_SECONDS:.0f} s after another one was "
            "killed."
        ) from None
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _measure(plan: Plan) -> tuple[float, float]:
    """Runs undisturbed; returns the seconds to the first checkpoint, and all.

    Raises:
        TrainingError: It failed.
    """
    begin = time.monotonic()
    processes = plan.start("undisturbed")
    first = 0.0
    while any(process.poll() is None for process in processes):
        if not first and plan.steps_saved("undisturbed"):
            first = time.monotonic() - begin
        if time.monotonic() - begin > _START_SECONDS and not first:
            break
        time.sleep(_LOOK_SECONDS)
    _finish(processes)
    return first, time.monotonic() - begin


def compare(plan: Plan) -> tuple[int, int, float]:
    """Compares the last weights of both runs.

    Returns:
        Number of values that differ, of all, and the largest difference
        relative to the largest value of its variable.
    """
    from deeplab2_like.checkpoints import files as checkpoint_files

    one, two = (
        checkpoint_files.read_checkpoint(
            f"{plan.folder}/{name}/ckpt-{plan.steps}"
        )
        for name in ("undisturbed", "killed")
    )
    if one.keys() != two.keys():
        raise errors.CheckpointError("The runs have other variables.")
    differing = total = 0
    largest = 0.0
    for name, value in one.items():
        other = two[name]
        total += value.size
        differing += int(np.count_nonzero(value != other))
        if value.dtype.kind == "f" and value.size:
            scale = float(np.abs(value).max()) or 1.0
            gap = float(np.abs(value - other).max()) / scale
            largest = max(largest, gap)
    return differing, total, largest


def kill_often(plan: Plan, kills: int, seed: int) -> None:
    """Kills a run at random moments, and prints what that did.

    Raises:
        TrainingError: A start failed, a worker did not end, or steps were
            lost that had been saved.
    """
    first, total = _measure(plan)
    print(
        f"Undisturbed: {first:.0f} s to the first checkpoint, {total:.0f} s to "
        f"step {plan.steps}, a checkpoint every {plan.interval} steps."
    )
    generator = random.Random(seed)
    saved, done, after_save = 0, 0, 0
    # Half of the kills while it starts, the others among steps and saves.
    while done < kills:
        delay = generator.uniform(0.0, first)
        if done % 2:
            delay = first + generator.uniform(0.0, 0.3 * (total - first))
        said = _kill_one(plan, "killed", delay, generator)
        if said is None:
            break
        done += 1
        steps = plan.steps_saved("killed")
        newest = steps[-1] if steps else 0
        left = len(plan.leftovers("killed"))
        print(
            f"Kill {done} after {delay:5.1f} s: step {saved} -> {newest}, "
            f"{left} leftovers. {said}".rstrip(),
            flush=True,
        )
        if newest < saved:
            raise errors.TrainingError(f"Step {saved} was saved and is gone.")
        after_save += newest > 0
        saved = newest
    if done < kills:
        print(f"The run was over after {done} kills; give more --steps.")
    check_continued(_finish(plan.start("killed")), saved)
    differing, values, largest = compare(plan)
    left = plan.leftovers("killed")
    print(
        f"{done} kills, {after_save} of them after a checkpoint; the last "
        f"start continued from step {saved}. Values that differ: {differing} "
        f"of {values}, by at most {largest:.1e}. Left in the folder: "
        f"{', '.join(left) or 'nothing'}."
    )


def _main(arguments: Sequence[str]) -> None:
    program.refuse_arguments(arguments)
    from deeplab2_like.scenes import records

    with tempfile.TemporaryDirectory() as folder:
        records.write_records(folder, "train", 8, size=(65, 129), num_shards=2)
        plan = Plan(
            pathlib.Path(folder),
            workers=_WORKERS.value,
            steps=_STEPS.value,
            interval=_INTERVAL.value,
            is_async=_ASYNC.value,
        )
        kill_often(plan, _KILLS.value, _SEED.value)


if __name__ == "__main__":
    program.run(_main, _FLAGS)
