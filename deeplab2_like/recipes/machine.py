# SPDX-License-Identifier: Apache-2.0
"""What the machine offers to a training; TensorFlow is not asked."""

import dataclasses
import os
import pathlib
from typing import Self

from deeplab2_like import errors
from deeplab2_like.checkpoints import imagenet

_CONTROL_GROUP_LIMITS = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)
_ASSUMED_BYTES = 8 * 2**30
# Encoders with weights of ImageNet, the preferred one first.
ENCODERS = ("efficientnet_lite0",)


@dataclasses.dataclass(frozen=True)
class Machine:
    """What a training can use.

    Attributes:
        cores: Processor cores of this process.
        memory_bytes: Memory that is free now.
        pretrained: Names of the backbones of `ENCODERS` whose ImageNet weights
            are on this machine.
        missing: How to get the weights of the first of `ENCODERS`; "" if they
            are there.
        fast_bfloat16: Whether the processor multiplies in bfloat16.
    """

    cores: int
    memory_bytes: int
    pretrained: tuple[str, ...] = ()
    missing: str = ""
    fast_bfloat16: bool = False

    @classmethod
    def look(cls) -> Self:
        """Returns what this machine offers."""
        pretrained = []
        missing = ""
        for name in ENCODERS:
            try:
                imagenet.find(name)
                pretrained.append(name)
            except errors.CheckpointError as error:
                missing = missing or str(error)
        return cls(
            cores=_count_cores(),
            memory_bytes=_find_free_memory(),
            pretrained=tuple(pretrained),
            missing="" if pretrained else missing,
            fast_bfloat16=_has_bfloat16(),
        )


def _count_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _find_free_memory() -> int:
    """Returns the bytes that are free, within the limit of the container."""
    free = _ASSUMED_BYTES
    try:
        for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    for path in _CONTROL_GROUP_LIMITS:
        try:
            free = min(free, int(pathlib.Path(path).read_text()))
        except (OSError, ValueError):
            continue  # There is none, or it is "max".
    return free


def _has_bfloat16() -> bool:
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in text or "amx_bf16" in text
