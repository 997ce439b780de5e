# SPDX-License-Identifier: Apache-2.0
"""Loads images in several processes, in order. No TensorFlow here."""

import collections
import concurrent.futures
import dataclasses
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.data.coco import loading
from deeplab2_like.data.coco.samples import Sample
from deeplab2_like.recipes.published.items import Item


@dataclasses.dataclass(frozen=True, eq=False)
class LoadedImage:
    """An image of a record, with counts that the loading process makes.

    Attributes:
        sample: The image, without decoded pixels: they would be copied
            between processes, and the record holds the file.
        pixels: int64 [N], pixels by class, void under its ignore label; None
            without a label.
    """

    sample: Sample
    pixels: npt.NDArray[np.int64] | None


Loaded: TypeAlias = LoadedImage | errors.DataError
# Images that are loaded ahead, for each process.
_AHEAD = 2


class Pool:
    """Processes that load images; use it in a `with` block."""

    def __init__(self, num_processes: int, num_threads: int = 2):
        """Starts nothing yet.

        Args:
            num_processes: Processes; with 1, threads of this process load.
            num_threads: Threads of a single process.
        """
        self._num_threads = num_threads
        self._count = num_processes
        self._executor: concurrent.futures.Executor | None = None

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *error: object) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None

    def load(
        self, items: Iterable[Item], label_divisor: int
    ) -> Iterator[Loaded]:
        """Loads images.

        Args:
            items: The images.
            label_divisor: Divisor of the ids of their labels.

        Yields:
            Each image in their order, or the error why it cannot be used.

        Raises:
            errors.DataError: A process ended.
        """
        if self._count == 1:
            loaders = [item.load for item in items]
            for sample in loading.load_in_order(loaders, self._num_threads):
                yield _count(sample, label_divisor)
            return
        if self._executor is None:
            self._executor = concurrent.futures.ProcessPoolExecutor(
                self._count,
                # A fork would copy the locks of TensorFlow's threads.
                multiprocessing.get_context("spawn"),
                initializer=_prepare_process,
            )
        waiting: collections.deque[concurrent.futures.Future[Loaded]]
        waiting = collections.deque()
        try:
            for item in items:
                waiting.append(
                    self._executor.submit(_load, item, label_divisor)
                )
                if len(waiting) > _AHEAD * self._count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except concurrent.futures.process.BrokenProcessPool as error:
            raise errors.DataError(
                "A process that loads images ended: it was killed, perhaps for "
                "lack of memory. Run the command again, which goes on where it "
                "was; --num_processes=1 needs the least memory."
            ) from error


def _load(item: Item, label_divisor: int) -> Loaded:
    try:
        return _count(item.load(), label_divisor)
    except errors.DataError as error:
        return error


def _count(sample: Sample | errors.DataError, label_divisor: int) -> Loaded:
    if isinstance(sample, errors.DataError):
        return sample
    pixels = None
    if sample.panoptic is not None:
        classes = sample.panoptic.reshape(-1) // label_divisor
        pixels = np.bincount(classes).astype(np.int64)
    return LoadedImage(dataclasses.replace(sample, pixels=None), pixels)


def _prepare_process() -> None:
    """Lets a process end with the one that started it, and only with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)
