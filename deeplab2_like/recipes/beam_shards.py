# SPDX-License-Identifier: Apache-2.0
"""Writes shards of records by a pipeline of Apache Beam.

Each element of the pipeline is a shard. What it is made of lies in a file in
the folder where shards are written until all are there; workers write the
shard and its counts beside it, as `published.shards` does on one machine, under
names that only one attempt has, and then rename them. So an attempt may run
twice, or two at once, and what a pipeline that failed has written is kept.
"""

import dataclasses
import json
import pathlib
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import apache_beam as beam

from deeplab2_like import errors
from deeplab2_like.console import beam_pipelines
from deeplab2_like.labels import coco_json
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.recipes.published import pool as pool_lib
from deeplab2_like.recipes.published import shards
from deeplab2_like.recipes.published.items import Item
from deeplab2_like.recipes.published.shard_counts import ShardCounts
from deeplab2_like.recipes.published.shards import Plan
from deeplab2_like.storage import json_files

_TASK, _PROBLEMS = ".task", ".problems"
_CODER = beam.coders.CloudpickleCoder()


@dataclasses.dataclass(frozen=True)
class _Task:
    """A shard to write.

    Attributes:
        path: Path of the shard.
        items: Its images.
        descriptor: The data set.
        fingerprint: What it depends on.
    """

    path: str
    items: Sequence[Item]
    descriptor: DatasetDescriptor
    fingerprint: str


class BeamWriter:
    """Writes shards by pipelines; an instance is a `shards.WriteMissing`."""

    def __init__(self, options: Sequence[str]):
        """Reads the options.

        Args:
            options: Options of Beam, for example "--runner=DirectRunner".

        Raises:
            errors.ConfigError: Beam cannot use them.
        """
        self._options = list(options)
        beam_pipelines.open_pipeline(self._options)

    def __call__(
        self,
        plan: Plan,
        descriptor: DatasetDescriptor,
        counts: list[ShardCounts | None],
        advance: Callable[[int], None],
    ) -> None:
        """Writes the shards that are not there; see `shards.WriteMissing`.

        Raises:
            errors.DataError: Images cannot be used, or the pipeline failed.
        """
        work = plan.target.work.resolve()
        missing = [index for index, one in enumerate(counts) if one is None]
        advance(sum(len(plan.parts[i]) for i, one in enumerate(counts) if one))
        if not missing:
            return
        tasks = [_store_task(work, plan, descriptor, i) for i in missing]
        self._run(tasks)
        problems: list[str] = []
        for index in missing:
            path = work / plan.names[index]
            fingerprint = plan.fingerprints[index]
            counts[index] = ShardCounts.load(
                path.with_name(f"{path.name}.json"), fingerprint
            )
            if counts[index] is None:
                problems += _load_problems(path)
        coco_json.raise_problems(
            f"Split {plan.target.split!r}", problems[: shards.MAX_PROBLEMS]
        )
        lost = [i for i in missing if counts[i] is None]
        if lost:
            raise errors.DataError(
                f"The pipeline ended without {len(lost)} of {len(missing)} "
                f"shards, first {plan.names[lost[0]]!r}. Do all workers write "
                f"to {plan.target.folder}? The same command goes on."
            )
        advance(sum(map(len, plan.parts)))

    def _run(self, tasks: Sequence[str]) -> None:
        pipeline = beam_pipelines.open_pipeline(self._options)
        _ = (
            pipeline
            | "Shards" >> beam.Create(list(tasks))
            | "Spread" >> beam.Reshuffle()
            | "Write" >> beam.Map(write_task)
        )
        beam_pipelines.run(pipeline, "goes on where it was")


def _store_task(
    work: pathlib.Path, plan: Plan, descriptor: DatasetDescriptor, index: int
) -> str:
    path = work / plan.names[index]
    path.with_name(f"{path.name}{_PROBLEMS}").unlink(missing_ok=True)
    task = _Task(
        str(path), plan.parts[index], descriptor, plan.fingerprints[index]
    )
    file = path.with_name(f"{path.name}{_TASK}")
    file.write_bytes(_CODER.encode(task))
    return str(file)


def _load_problems(path: pathlib.Path) -> list[str]:
    try:
        text = path.with_name(f"{path.name}{_PROBLEMS}").read_text("utf-8")
        return [str(one) for one in json.loads(text)]
    except (OSError, ValueError):
        return []


def write_task(file: str) -> None:
    """Writes a shard on a worker.

    Args:
        file: What the shard is made of; a file that this module wrote.
    """
    task: Any = _CODER.decode(pathlib.Path(file).read_bytes())
    path = pathlib.Path(task.path)
    counts_path = path.with_name(f"{path.name}.json")
    if ShardCounts.load(counts_path, task.fingerprint) and path.exists():
        return  # Of another attempt.
    attempt = f".{path.name}.{uuid.uuid4().hex}"
    data = task.descriptor
    counts = ShardCounts.empty(task.fingerprint, data.num_classes)
    problems: list[str] = []

    def load() -> Any:
        with pool_lib.Pool(1) as pool:
            for one in pool.load(task.items, data.label_divisor):
                if isinstance(one, errors.DataError):
                    problems.append(str(one))
                yield one

    partial = path.with_name(f"{attempt}.partial")
    try:
        is_good = shards.write_shard(
            path, task.items, load(), data, counts, partial=partial
        )
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    whole = path.with_name(f"{attempt}.json")
    if is_good:
        counts.store(whole)
        whole.replace(counts_path)
        return
    text = json_files.to_line(problems[: shards.MAX_PROBLEMS])
    whole.write_text(text, encoding="utf-8", errors="surrogatepass")
    whole.replace(path.with_name(f"{path.name}{_PROBLEMS}"))
