# SPDX-License-Identifier: Apache-2.0
"""Writes the shards of a split; what was killed goes on where it was.

Shards are written to a hidden folder beside their place, each completely or not
at all, with a file that says what it was made of. When all are there they move
to their place. The same command, run again, keeps every shard whose files and
settings are the same and whose checksum is right.
"""

import contextlib
import dataclasses
import itertools
import os
import pathlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence

import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.data.coco.samples import Sample
from deeplab2_like.data.records import features as record_features
from deeplab2_like.data.records import writer as record_writer
from deeplab2_like.labels import coco_json
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.recipes.published import shard_counts
from deeplab2_like.recipes.published.items import Item
from deeplab2_like.recipes.published.pool import Loaded, Pool
from deeplab2_like.recipes.published.shard_counts import ShardCounts
from deeplab2_like.storage import file_locks, whole_files

# Images with problems that are looked for before giving up.
MAX_PROBLEMS = 20
# All shards are written and are being moved to their place.
_COMPLETE = "complete"
_LOCK = "lock"


@dataclasses.dataclass(frozen=True)
class Target:
    """The shards to write.

    Attributes:
        folder: Folder of the shards, which exists.
        split: First part of their names.
        num_shards: Number of shards.
        overwrite: Whether older shards of the split are replaced.
        settings: Text of what decides about records but is in no file.
    """

    folder: pathlib.Path
    split: str
    num_shards: int
    overwrite: bool = False
    settings: str = ""

    @property
    def work(self) -> pathlib.Path:
        """Folder where shards are written."""
        return self.folder / f".{self.split}.partial"


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which image goes where.

    Attributes:
        target: The shards.
        names: File name of each shard.
        parts: Images of each shard.
        fingerprints: What each shard depends on.
    """

    target: Target
    names: Sequence[str]
    parts: Sequence[Sequence[Item]]
    fingerprints: Sequence[str]

    @classmethod
    def make(
        cls,
        items: Sequence[Item],
        descriptor: DatasetDescriptor,
        target: Target,
    ) -> "Plan":
        """Divides images into shards.

        Args:
            items: One image or more, in the order in which they are kept.
            descriptor: The data set.
            target: The shards.
        """
        sizes = record_writer.compute_shard_sizes(len(items), target.num_shards)
        names = record_writer.name_shards(target.split, len(sizes))
        rest = iter(items)
        parts = [list(itertools.islice(rest, size)) for size in sizes]
        fingerprints = [
            shard_counts.compute_fingerprint(
                part, name, descriptor, target.settings
            )
            for name, part in zip(names, parts, strict=True)
        ]
        return cls(target, names, parts, fingerprints)


# Function that writes the shards that are not there to `Target.work`. It gets
# the shards, the data set, the counts of those that are there (None for the
# others, which it fills), and a function to call with the number of images
# done.
WriteMissing = Callable[
    [Plan, DatasetDescriptor, list[ShardCounts | None], Callable[[int], None]],
    None,
]


def write_split(
    plan: Plan,
    descriptor: DatasetDescriptor,
    write_missing: WriteMissing,
    advance: Callable[[int], None] = lambda _: None,
) -> list[ShardCounts]:
    """Writes the shards of a split, all of them or none.

    Args:
        plan: The shards.
        descriptor: The data set.
        write_missing: Writes the shards that are not there.
        advance: Function that is called with the number of images done.

    Returns:
        Counts of each shard.

    Raises:
        errors.DataError: Images cannot be used, of which up to 20 are looked
            for; or there are other shards of the split, the disk is full, or
            another process writes them.
    """
    target = plan.target
    with _lock(target.work):
        is_complete = (target.work / _COMPLETE).exists()
        old = record_writer.find_shards(str(target.folder), target.split)
        if old and not (target.overwrite or is_complete):
            shutil.rmtree(target.work, ignore_errors=True)
            raise errors.DataError(
                f"{str(target.folder)!r} has {len(old)} shards of "
                f"{target.split!r} already, first {old[0]!r}, and they are not "
                "of these files and settings. Choose another folder, or add "
                "--overwrite."
            )
        counts = _find_kept(plan)
        if None in counts:
            (target.work / _COMPLETE).unlink(missing_ok=True)
        write_missing(plan, descriptor, counts, advance)
        found = [one for one in counts if one is not None]
        (target.work / _COMPLETE).touch()
        _move(plan, found, old)
    return found


@contextlib.contextmanager
def _lock(folder: pathlib.Path) -> Iterator[None]:
    """Keeps other processes from the folder; ends with this process."""
    lock = file_locks.FileLock(folder / _LOCK)
    if not lock.acquire():
        raise errors.DataError(
            f"Another process writes the same split to {folder.parent}. "
            "Wait until it ends, or give another --out."
        )
    try:
        yield
    finally:
        lock.release()


def _find_kept(plan: Plan) -> list[ShardCounts | None]:
    """Returns the counts of shards that an earlier call has written."""
    found: list[ShardCounts | None] = []
    for name, fingerprint in zip(plan.names, plan.fingerprints, strict=True):
        one = ShardCounts.load(plan.target.work / f"{name}.json", fingerprint)
        path = _find_shard(plan.target, name)
        if one is not None and (
            path is None
            or record_writer.compute_sha256(str(path)) != one.sha256
        ):
            one = None
        found.append(one)
    return found


def _find_shard(target: Target, name: str) -> pathlib.Path | None:
    for path in (target.work / name, target.folder / name):
        if path.exists():
            return path
    return None


def write_here(
    plan: Plan,
    descriptor: DatasetDescriptor,
    counts: list[ShardCounts | None],
    advance: Callable[[int], None],
    *,
    pool: Pool,
) -> None:
    """Writes shards on this machine; with a `pool` it is a `WriteMissing`.

    Args:
        plan: The shards.
        descriptor: The data set.
        counts: Counts of the shards that are there; is filled.
        advance: Function that is called with the number of images done.
        pool: Loads the images.

    Raises:
        errors.DataError: See `write_split`.
    """
    missing = [index for index, one in enumerate(counts) if one is None]
    done = sum(len(part) for part in plan.parts) - sum(
        len(plan.parts[index]) for index in missing
    )
    advance(done)
    problems: list[str] = []

    def watch(loaded: Iterable[Loaded]) -> Iterator[Loaded]:
        nonlocal done
        for one in loaded:
            done += 1
            advance(done)
            if isinstance(one, errors.DataError):
                problems.append(str(one))
            yield one

    order = [item for index in missing for item in plan.parts[index]]
    stream = watch(pool.load(order, descriptor.label_divisor))
    for index in missing:
        part = plan.parts[index]
        found = ShardCounts.empty(
            plan.fingerprints[index], descriptor.num_classes
        )
        path = plan.target.work / plan.names[index]
        known = len(problems)
        write_shard(
            path,
            part,
            itertools.islice(stream, len(part)),
            descriptor,
            found,
        )
        if len(problems) >= MAX_PROBLEMS:
            break
        if len(problems) == known:
            found.store(path.with_name(f"{path.name}.json"))
            counts[index] = found
    coco_json.raise_problems(f"Split {plan.target.split!r}", problems)


def write_shard(
    path: pathlib.Path,
    items: Sequence[Item],
    images: Iterator[Loaded],
    descriptor: DatasetDescriptor,
    counts: ShardCounts,
    *,
    partial: pathlib.Path | None = None,
) -> bool:
    """Writes a shard, which appears only if all of its images are good.

    Args:
        path: Path of the shard.
        items: Its images.
        images: The same, loaded.
        descriptor: The data set.
        counts: Those of no image; is filled.
        partial: Where it is written until it is complete; by default a hidden
            file beside it.

    Returns:
        Whether all images are good.

    Raises:
        errors.DataError: It cannot be written.
    """
    partial = partial or whole_files.partial_path(path)
    is_good = True
    try:
        with tf.io.TFRecordWriter(str(partial)) as writer:
            for item, loaded in zip(items, images, strict=True):
                if isinstance(loaded, errors.DataError):
                    is_good = False
                elif is_good:
                    writer.write(_encode(item, loaded.sample))
                    counts.add(loaded, descriptor)
    except tf.errors.OpError as error:
        if whole_files.is_disk_full(error):
            raise errors.DataError(
                f"{whole_files.describe_full_disk(partial)} Free some and run "
                "the command again: it goes on with this shard."
            ) from error
        raise errors.DataError(
            f"Cannot write {str(path)!r}: {error.message}."
        ) from error
    if not is_good:
        partial.unlink()
        return False
    with open(partial, "rb") as stream:
        os.fsync(stream.fileno())
    counts.sha256 = record_writer.compute_sha256(str(partial))
    partial.replace(path)
    return True


def _encode(item: Item, sample: Sample) -> bytes:
    return record_features.encode_example(
        name=item.name,
        image=sample.image,
        image_format=sample.image_format,
        size=sample.size,
        panoptic=sample.panoptic,
        sequence=item.sequence,
    )


def _move(
    plan: Plan, counts: Sequence[ShardCounts], old: Sequence[str]
) -> None:
    """Moves the shards to their place; may be repeated after a kill."""
    target = plan.target
    for name in old:
        if name not in plan.names:
            (target.folder / name).unlink(missing_ok=True)
    for name in plan.names:
        if (target.work / name).exists():
            (target.work / name).replace(target.folder / name)
    record_writer.update_manifest(
        str(target.folder),
        {
            name: one.sha256
            for name, one in zip(plan.names, counts, strict=True)
        },
        old,
    )


def remove_work(target: Target) -> None:
    """Removes what was needed to go on; the split is complete.

    Another process that writes the split by now removes it itself.

    Args:
        target: The shards.
    """
    if not target.work.exists():
        return
    lock = file_locks.FileLock(target.work / _LOCK)
    if lock.acquire():
        shutil.rmtree(target.work, ignore_errors=True)
        lock.release()
