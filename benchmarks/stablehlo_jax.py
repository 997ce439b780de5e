# SPDX-License-Identifier: Apache-2.0
"""Runs the inference and training steps in JAX, without TensorFlow.

    python benchmarks/stablehlo_jax.py --write=folder        # with TensorFlow
    jax/bin/python benchmarks/stablehlo_jax.py --run=folder  # with JAX only

For accelerators that have JAX but no TensorFlow. The first call writes the
StableHLO of each function, what it was called with and what it gave; the
second, in an environment with `jax` and `numpy`, runs the functions on JAX's
default device, compares, and measures. Weights are arguments; the state after
a training step is fed into the next one.
"""

import argparse
import json
import pathlib
import sys
import time
from typing import Any

import numpy as np

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

_STEPS = 10
_MEASURED_RUNS = 20


def _write(arguments: argparse.Namespace) -> None:
    """Lowers the functions and records what TensorFlow gives."""
    import tensorflow as tf

    from benchmarks import pure_functions

    folder = pathlib.Path(arguments.write)
    folder.mkdir(parents=True, exist_ok=True)
    size = tuple(arguments.size)
    precision = (
        f'trainer_options {{ compute_precision: "{arguments.precision}" }}',
    )
    functions = pure_functions.make_inference(
        arguments.backbone, size, precision
    )
    functions.append(
        pure_functions.make_training_step(
            arguments.backbone, size, arguments.batch_size, precision
        )
    )
    for function in functions:
        if function.name not in arguments.functions:
            continue
        compiled = tf.function(function.call, jit_compile=True, autograph=False)
        lower = compiled.experimental_get_compiler_ir(*function.specs())
        text = lower(stage="stablehlo", platform_name=arguments.platform)
        (folder / f"{function.name}.mlir").write_text(text)
        inputs = tf.nest.flatten(function.arguments)
        steps = _STEPS if function.changes_state else 1
        outputs = _run_steps(
            lambda *flat, f=compiled, a=function.arguments: tf.nest.flatten(
                f(*tf.nest.pack_sequence_as(a, flat))
            ),
            inputs,
            function.num_state if function.changes_state else 0,
            steps,
        )
        np.savez(
            folder / f"{function.name}.npz",
            **{f"input_{i}": x.numpy() for i, x in enumerate(inputs)},
            **{f"output_{i}": x for i, x in enumerate(outputs)},
        )
        description = {
            "num_state": function.num_state if function.changes_state else 0,
            "steps": steps,
            "num_inputs": len(inputs),
            "num_outputs": len(outputs),
        }
        (folder / f"{function.name}.json").write_text(json.dumps(description))
        print(f"{function.name}: {len(text) / 1e3:.0f} kB", flush=True)


def _run_steps(call, inputs, num_state: int, steps: int) -> list[Any]:
    """Calls a function repeatedly, feeding its first results back.

    Returns:
        The results besides the state, of all steps, as arrays.
    """
    results = []
    flat = list(inputs)
    for _ in range(steps):
        outputs = list(call(*flat))
        flat[:num_state] = outputs[:num_state]
        results += [np.asarray(x) for x in outputs[num_state:]]
    return results


def _run(arguments: argparse.Namespace) -> None:
    """Runs in JAX what was written, compares, measures."""
    import jax

    # Keras counts steps in 64 bits.
    jax.config.update("jax_enable_x64", True)
    device = jax.devices()[0]
    print(f"JAX {jax.__version__} on {device.device_kind}")
    for path in sorted(pathlib.Path(arguments.run).glob("*.mlir")):
        description = json.loads(path.with_suffix(".json").read_text())
        with np.load(path.with_suffix(".npz")) as content:
            inputs = [
                jax.device_put(content[f"input_{i}"], device)
                for i in range(description["num_inputs"])
            ]
            expected = [
                content[f"output_{i}"]
                for i in range(description["num_outputs"])
            ]
        start = time.perf_counter()
        call = _compile(path.read_text(), device)
        seconds = time.perf_counter() - start
        found = _run_steps(
            call, inputs, description["num_state"], description["steps"]
        )
        milliseconds = 1e3 * _measure(call, inputs)
        print(
            f"{path.stem}: compiled in {seconds:.1f} s, {milliseconds:.1f} ms;"
            f" {_describe_differences(found, expected)}",
            flush=True,
        )


def _compile(text: str, device: Any) -> Any:
    """Compiles StableHLO for a device of JAX."""
    from jaxlib import xla_client

    executable = device.client.compile_and_load(
        text, xla_client.DeviceList((device,)), xla_client.CompileOptions()
    )

    def call(*flat: Any) -> list[Any]:
        results = executable.execute_sharded(flat)
        arrays = results.disassemble_into_single_device_arrays()
        return [array for (array,) in arrays]

    return call


def _measure(call: Any, inputs: list[Any]) -> float:
    """Gives the least seconds of a call."""
    times = []
    for _ in range(_MEASURED_RUNS):
        start = time.perf_counter()
        for result in call(*inputs):
            result.block_until_ready()
        times.append(time.perf_counter() - start)
        if sum(times) > 60:
            break
    return min(times)


def _describe_differences(found: list[Any], expected: list[Any]) -> str:
    """Says how integers and numbers differ."""
    unequal = total = 0
    largest = 0.0
    for some, other in zip(found, expected, strict=True):
        if other.dtype.kind in "iub":
            unequal += int(np.sum(some != other))
            total += other.size
        else:
            scale = max(float(np.abs(other).max()), 1e-30)
            difference = np.abs(some.astype(float) - other.astype(float))
            largest = max(largest, float(difference.max()) / scale)
    text = f"largest difference {largest:.1e} of the largest value"
    return text + (f", {unequal} of {total} integers differ" if total else "")


def main() -> None:
    """Writes or runs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--write", help="folder to write, with TensorFlow")
    parser.add_argument("--run", help="folder to run, with JAX")
    parser.add_argument("--backbone", default="mobilenet_v3_large")
    parser.add_argument("--size", type=int, nargs=2, default=[257, 513])
    parser.add_argument("--batch_size", type=int, default=1)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--platform", default="CPU", help="CPU or CUDA")
    parser.add_argument(
        "--functions",
        nargs="+",
        default=["network", "postprocess", "inference", "training_step"],
    )
    arguments = parser.parse_args()
    if bool(arguments.write) == bool(arguments.run):
        parser.error("give --write=FOLDER or --run=FOLDER")
    if arguments.write:
        _write(arguments)
    else:
        _run(arguments)


if __name__ == "__main__":
    main()
