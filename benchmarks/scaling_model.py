# SPDX-License-Identifier: Apache-2.0
"""Predicts the time of a training step on many devices, from a few numbers.

A step of n devices lasts as long as the slowest of two: the devices, which
compute and then exchange gradients; and the hosts, which prepare batches
meanwhile. The trainer sums all gradients after the last of them is there, as
clipping needs the norm of all, so that no exchange is hidden by computation.
"""

import dataclasses
import math
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Work:
    """What the training step of a network takes.

    Attributes:
        flops: Operations of the step for one image.
        bytes: Bytes of device memory that are read or written for one image.
        gradient_bytes: Size of all gradients.
        batch_norms: Layers whose statistics are exchanged, forward and
            backward; 0 without synchronized batch normalization.
    """

    flops: float
    bytes: float
    gradient_bytes: float
    batch_norms: int


@dataclasses.dataclass(frozen=True)
class Machine:
    """A kind of device, and how many of them are connected.

    Attributes:
        name: Its name.
        flops: Largest number of operations a second.
        bytes: Largest number of bytes of its memory a second.
        share: Share of these that a step reaches; 0..1.
        per_host: Devices of one host.
        link_bytes: Bytes a second that a device sends to others of its group.
        group: Devices that these links connect.
        network_bytes: Bytes a second that a device sends to other groups.
        latency: Seconds of one message within a group.
        network_latency: Seconds of one message between groups.
        cores: Processor cores of a host.
    """

    name: str
    flops: float
    bytes: float
    share: float
    per_host: int
    link_bytes: float
    group: int
    network_bytes: float
    latency: float
    network_latency: float
    cores: int


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A step of some devices; times in seconds.

    Attributes:
        devices: Number of devices.
        compute: Time of operations and of device memory, without exchanges.
        gradients: Time of the exchange of gradients.
        statistics: Time of the exchanges of batch statistics.
        input: Time in which the hosts of the devices prepare the batches.
        limit: What takes longest.
        input_hosts: Hosts of the same kind that have to help with input.
    """

    devices: int
    compute: float
    gradients: float
    statistics: float
    input: float
    limit: str
    input_hosts: int

    @property
    def step(self) -> float:
        """Time of the step."""
        return max(self.compute + self.gradients + self.statistics, self.input)

    @property
    def efficiency(self) -> float:
        """Images a second and device, over those of one device alone."""
        return self.compute / self.step

    @property
    def efficiency_with_hosts(self) -> float:
        """The same when `input_hosts` help."""
        return self.compute / (self.compute + self.gradients + self.statistics)


def sum_seconds(size: float, devices: int, machine: Machine) -> float:
    """Returns the time in which devices sum arrays of each other.

    Rings: 2 (n - 1) / n of the size over the link of each device, and a message
    for each of the 2 (n - 1) steps; with more than one group first within the
    groups, then between them with each device's part (Patarasuk and Yuan,
    doi:10.1016/j.jpdc.2008.09.002). For latency each dimension of a torus and
    each level of a switch is a tree: 2 log2(n) messages.

    Args:
        size: Bytes of the array of one device.
        devices: Number of devices.
        machine: The devices.
    """
    inside = min(devices, machine.group)
    groups = math.ceil(devices / machine.group)
    seconds = 0.0
    if inside > 1:
        seconds += 2 * (inside - 1) / inside * size / machine.link_bytes
        seconds += 2 * math.log2(inside) * machine.latency
    if groups > 1:
        part = size / inside
        seconds += 2 * (groups - 1) / groups * part / machine.network_bytes
        seconds += 2 * math.log2(groups) * machine.network_latency
    return seconds


def predict(
    work: Work,
    machine: Machine,
    devices: int,
    batch: int,
    images_per_core: float,
) -> Prediction:
    """Predicts a step.

    Args:
        work: The network.
        machine: The devices and hosts.
        devices: Number of devices.
        batch: Images of each device.
        images_per_core: Images that a core prepares in a second.
    """
    operations = batch * work.flops / (machine.flops * machine.share)
    memory = batch * work.bytes / (machine.bytes * machine.share)
    gradients = sum_seconds(work.gradient_bytes, devices, machine)
    # Some kilobytes each, so that only messages count.
    statistics = 2 * work.batch_norms * sum_seconds(0.0, devices, machine)
    hosts = math.ceil(devices / machine.per_host)
    images = devices * batch
    rate = machine.cores * images_per_core
    seconds = images / (hosts * rate)
    compute = max(operations, memory)
    busy = compute + gradients + statistics
    limits: Mapping[str, float] = {
        "operations": operations if operations >= memory else 0.0,
        "device memory": memory if memory > operations else 0.0,
        "exchange of gradients": gradients,
        "exchange of batch statistics": statistics,
        "input": seconds if seconds > busy else 0.0,
    }
    return Prediction(
        devices=devices,
        compute=compute,
        gradients=gradients,
        statistics=statistics,
        input=seconds,
        limit=max(limits, key=lambda name: limits[name]),
        input_hosts=max(0, math.ceil(images / busy / rate) - hosts),
    )


def predict_logical(alone: float, copy_seconds: float, devices: int) -> float:
    """Predicts a step of logical devices, which share one processor.

    Each has the batch of the one device. What all devices compute runs on the
    same cores; gradients are summed through memory.

    Args:
        alone: Seconds of a step of one device.
        copy_seconds: Seconds in which all gradients are copied once.
        devices: Number of logical devices.
    """
    # The sum reads the array of each device and is written to each.
    exchange = 2 * devices * copy_seconds if devices > 1 else 0.0
    return devices * alone + exchange
