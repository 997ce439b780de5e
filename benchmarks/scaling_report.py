# SPDX-License-Identifier: Apache-2.0
"""Predicts training on 4 to 256 TPU v5e and on 8 to 512 H100.

    python benchmarks/scaling_report.py [--check] [--compiled=FILE]
        [--images_per_core=RATE]

Prints Markdown: for each network and number of devices the time of a step, the
share of a single device's speed that remains, what limits it, and how many
hosts have to help with input. Operations and bytes of a step are those that the
compiler of a TPU v5e counts ahead of time: `tpu_compile.py --out=FILE` writes
them, those of docs/performance.md are built in. The rate of input is measured
here, by `augmentations.py`, unless it is given. Everything else is assumed, and
printed as such. --check compares the model with training on 1, 2 and 4 logical
devices of this machine.
"""

import json
import math
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from absl import flags

_ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[0] = str(_ROOT)

from benchmarks import reporting, scaling_model  # noqa: E402
from deeplab2_like import errors  # noqa: E402
from deeplab2_like.console import path_flags, program  # noqa: E402

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()
_COMPILED = path_flags.define(
    "compiled",
    None,
    "File that tpu_compile.py has written with --out, with training steps.",
    flag_values=_FLAGS,
)
_IMAGES_PER_CORE = flags.DEFINE_float(
    "images_per_core",
    None,
    "Images that one processor core prepares in a second; measured when not "
    "given.",
    lower_bound=1e-6,
    flag_values=_FLAGS,
)
_BATCH = flags.DEFINE_list(
    "batch",
    ["1", "4"],
    "Images of a device, on a v5e and on an H100.",
    flag_values=_FLAGS,
)
_SHARE = flags.DEFINE_float(
    "share",
    0.5,
    "Share of the peaks of operations and memory that a step reaches.",
    lower_bound=0.01,
    upper_bound=1.0,
    flag_values=_FLAGS,
)
_CHECK = flags.DEFINE_bool(
    "check",
    False,
    "Compare the model with logical devices of this machine.",
    flag_values=_FLAGS,
)
# A flag without a text is not shown: the program itself uses it.
_DEVICES = flags.DEFINE_integer("devices", None, "", flag_values=_FLAGS)

_V5E = (4, 8, 16, 32, 64, 128, 256)
_H100 = (8, 16, 32, 64, 128, 256, 512)
# Operations and bytes for one image of 1025x2049 in bfloat16: the table of
# docs/performance.md.
_BUILT_IN = {
    "resnet50": (1686e9, 119.7e9),
    "mobilenet_v3_large": (441e9, 94.0e9),
}
# Gradients are summed in float32.
_GRADIENT_BYTES = 4
_LOGICAL = (1, 2, 4)
_CHECK_SIZE = (129, 257)
_CHECK_STEPS = 4
_CHECK_LOOPS = 5


def make_machines(share: float) -> list[tuple[scaling_model.Machine, int]]:
    """Returns the two kinds of devices, by their data sheets.

    Args:
        share: Share of the peaks that a step reaches.

    Returns:
        Each with the number of its row of `--batch`.
    """
    v5e = scaling_model.Machine(
        name="TPU v5e",
        flops=197e12,
        bytes=819e9,
        share=share,
        per_host=4,
        link_bytes=200e9,  # 1600 Gbit/s of interchip links of a chip.
        group=256,
        network_bytes=3e9,
        latency=2e-6,
        network_latency=50e-6,
        cores=56,  # 112 virtual processors.
    )
    h100 = scaling_model.Machine(
        name="H100",
        flops=989e12,
        bytes=3350e9,
        share=share,
        per_host=8,
        link_bytes=450e9,  # NVLink, one direction.
        group=8,
        network_bytes=50e9,  # 400 Gbit/s for each GPU.
        latency=5e-6,
        network_latency=15e-6,
        cores=104,  # 208 virtual processors.
    )
    return [(v5e, 0), (h100, 1)]


def describe_assumptions(machine: scaling_model.Machine) -> str:
    """Returns the assumptions about a kind of device in one sentence."""
    return (
        f"{machine.flops / 1e12:g} TFLOP/s and {machine.bytes / 1e9:g} GB/s of "
        f"memory, of which a step reaches {100 * machine.share:g} %; "
        f"{machine.link_bytes / 1e9:g} GB/s within {machine.group} devices, "
        f"{machine.network_bytes / 1e9:g} GB/s beyond; "
        f"{1e6 * machine.latency:g} and {1e6 * machine.network_latency:g} us a "
        f"message; hosts of {machine.per_host} devices and {machine.cores} "
        "cores. No exchange is hidden by computation."
    )


def make_table(
    work: scaling_model.Work,
    machine: scaling_model.Machine,
    counts: Sequence[int],
    batch: int,
    images_per_core: float,
) -> str:
    """Makes the Markdown table of one network on one kind of device.

    Args:
        work: The network.
        machine: The devices.
        counts: Numbers of devices, a row each.
        batch: Images of each device.
        images_per_core: Images that a core prepares in a second.
    """
    lines = [
        "| devices | global batch | step ms | compute | gradients | batch "
        "statistics | input | images/s | efficiency | limited by | more input "
        "hosts | efficiency with them |",
        "|" + "---|" * 12,
    ]
    for count in counts:
        found = scaling_model.predict(
            work, machine, count, batch, images_per_core
        )
        times = (
            found.step,
            found.compute,
            found.gradients,
            found.statistics,
            found.input,
        )
        cells = [
            str(count),
            str(count * batch),
            *(f"{1e3 * seconds:.3g}" for seconds in times),
            f"{count * batch / found.step:.3g}",
            f"{100 * found.efficiency:.0f} %",
            found.limit,
            str(found.input_hosts),
            f"{100 * found.efficiency_with_hosts:.0f} %",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def load_compiled(path: str) -> dict[str, tuple[float, float]]:
    """Reads operations and bytes of training steps by network.

    Args:
        path: File that `tpu_compile.py` has written.

    Raises:
        DataError: It has no training step.
    """
    found = {}
    try:
        for line in pathlib.Path(path).read_text().splitlines():
            row = json.loads(line)
            if row["function"] == "training_step":
                found[row["backbone"]] = (
                    1e9 * float(row["gflop"]),
                    1e9 * float(row["gigabytes"]),
                )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise errors.DataError(
            f"--compiled={path} is no file of tpu_compile.py ({error!r})."
        ) from error
    if not found:
        raise errors.DataError(
            f"--compiled={path} has no training_step. Write it with "
            f"tpu_compile.py --functions=training_step --out={path}."
        )
    return found


def _measure_input() -> float:
    """Returns the images that a core prepares in a second, at 1025x2049."""
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/lines.jsonl"
        subprocess.run(
            [
                sys.executable,
                str(_ROOT / "benchmarks" / "augmentations.py"),
                "--quick",
                f"--out={out}",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        measured = reporting.load_lines(out)["augmentations/none"]
    return 1e3 / measured.cpu_ms


def _count_weights(network: str) -> tuple[int, int]:
    """Returns the trainable scalars and the batch norms of a network."""
    import tensorflow as tf

    from benchmarks import models
    from deeplab2_like.labels import descriptor
    from deeplab2_like.meta_architectures import build

    options = models.load_config(network).options
    system = build.build_system(
        options, descriptor.load(options.train_dataset_options.dataset)
    )
    with tf.Graph().as_default():  # Variables without values.
        model = system.build_model(synchronize_batch_norm=False)
    scalars = sum(math.prod(v.shape) for v in model.trainable_variables)
    norms = sum(v.path.endswith("moving_mean") for v in model.variables)
    return scalars, norms


def _train_logical(devices: int) -> None:
    """Trains on logical devices and prints the times as JSON."""
    import numpy as np
    import tensorflow as tf

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * devices,
    )
    from benchmarks import inputs, models
    from deeplab2_like.trainer import build, training

    height, width = _CHECK_SIZE
    config = models.load_config(
        "mobilenet_v3_small",
        (f"train_dataset_options {{ crop_size: [{height}, {width}] }}",),
    )
    solver = config.options.trainer_options.solver_options
    strategy = (
        tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(devices)])
        if devices > 1
        else tf.distribute.OneDeviceStrategy("CPU:0")
    )
    with strategy.scope():
        system, model = models.build(config)
        panoptic = inputs.draw_label(10, _CHECK_SIZE)
        example = {
            "image": tf.constant(inputs.draw_image(panoptic, 0), tf.float32),
            "targets": system.target_maker(is_training=True)(
                tf.constant(panoptic)
            ),
            "name": tf.constant("drawn"),
        }
        batch = tf.nest.map_structure(lambda x: x[tf.newaxis], example)
        learning_rate = build.build_learning_rate(solver)
        trainer = training.Trainer(
            system,
            model,
            tf.data.Dataset.range(0),
            build.build_parameter_groups(solver, learning_rate, system, model),
            learning_rate,
        )
    trainer.train_dataset = strategy.distribute_datasets_from_function(
        lambda _: tf.data.Dataset.from_tensors(batch).cache().repeat()
    )
    steps = tf.constant(_CHECK_STEPS)
    trainer.train(steps)
    seconds = []
    for _ in range(_CHECK_LOOPS):
        begin = time.perf_counter()
        trainer.train(steps)
        seconds.append((time.perf_counter() - begin) / _CHECK_STEPS)
    size = sum(
        _GRADIENT_BYTES * int(np.prod(v.shape))
        for v in model.trainable_variables
    )
    values = np.ones(max(1, size), np.uint8)
    copies = []
    for _ in range(_CHECK_LOOPS):
        begin = time.perf_counter()
        values.copy()
        copies.append(time.perf_counter() - begin)
    result = {"step": min(seconds), "copy": statistics.median(copies)}
    print(json.dumps(result))


def _check() -> str:
    """Compares the model with logical devices; returns a Markdown table."""
    lines = [
        "| logical devices | predicted ms | measured ms | ratio |",
        "|---|---|---|---|",
    ]
    alone = copy_seconds = 0.0
    for devices in _LOGICAL:
        done = subprocess.run(
            [sys.executable, __file__, f"--devices={devices}"],
            check=True,
            capture_output=True,
            text=True,
        )
        found = json.loads(done.stdout.splitlines()[-1])
        if devices == 1:
            alone, copy_seconds = found["step"], found["copy"]
        predicted = scaling_model.predict_logical(alone, copy_seconds, devices)
        lines.append(
            f"| {devices} | {1e3 * predicted:.0f} | "
            f"{1e3 * found['step']:.0f} | {predicted / found['step']:.2f} |"
        )
    return "\n".join(lines)


def _report() -> None:
    compiled = dict(_BUILT_IN)
    if _COMPILED.value:
        compiled = load_compiled(_COMPILED.value)
    rate = _IMAGES_PER_CORE.value or _measure_input()
    batches = [int(text) for text in _BATCH.value]
    origin = "given" if _IMAGES_PER_CORE.value else "measured here"
    print(f"Input: {rate:.2f} images/s of 1025x2049 a core ({origin}).\n")
    for network, (flops, traffic) in compiled.items():
        scalars, norms = _count_weights(network)
        work = scaling_model.Work(
            flops, traffic, _GRADIENT_BYTES * scalars, norms
        )
        for machine, row in make_machines(_SHARE.value):
            counts = _V5E if row == 0 else _H100
            print(
                f"### {network} on {machine.name}, {batches[row]} image(s) a "
                f"device\n\n{flops / 1e9:.0f} GFLOP, {traffic / 1e9:.1f} GB an "
                f"image, {scalars / 1e6:.1f} M weights, {norms} batch norms. "
                f"Assumed: {describe_assumptions(machine)}\n"
            )
            print(make_table(work, machine, counts, batches[row], rate))
            print(flush=True)


def _main(arguments: Sequence[str]) -> None:
    program.refuse_arguments(arguments)
    if _DEVICES.value:
        _train_logical(_DEVICES.value)
        return
    if len(_BATCH.value) != 2 or not all(b.isdecimal() for b in _BATCH.value):
        raise errors.ConfigError(
            f"--batch={','.join(_BATCH.value)} is not two numbers, for a v5e "
            "and for an H100, for example --batch=1,4."
        )
    _report()
    if _CHECK.value:
        print("### The model against logical devices of this machine\n")
        print(_check())


if __name__ == "__main__":
    program.run(_main, _FLAGS)
