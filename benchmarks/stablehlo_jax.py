# SPDX-License-Identifier: Apache-2.0
"""Runs the inference and training steps in JAX, without TensorFlow.

    python benchmarks/stablehlo_jax.py --write=folder        # with TensorFlow
    jax/bin/python benchmarks/stablehlo_jax.py --run=folder  # with JAX only

For accelerators that have JAX but no TensorFlow. The first call writes the
StableHLO, arguments and results of each function; the second, in an environment
with `jax` and `numpy`, runs the functions on JAX's default device, compares the
results, and measures. Weights are arguments; the state after a training step is
passed to the next one. Large arguments are drawn anew on the other machine
instead of being stored: a folder has a few megabytes.
"""

import argparse
import gzip
import json
import pathlib
import sys
import time
from typing import Any, NoReturn

import numpy as np

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

_STEPS = 10
_MEASURED_RUNS = 20
_LONGEST_SECONDS = 60
# Floating-point arguments of more values are drawn.
_STORED_VALUES = 1 << 14


def _write(arguments: argparse.Namespace) -> None:
    """Lowers the functions and stores their results in TensorFlow."""
    import tensorflow as tf

    from benchmarks import pure_functions

    folder = pathlib.Path(arguments.write).expanduser()
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
        program = function.lower(arguments.platform, arguments.accelerator)
        with gzip.open(folder / f"{function.name}.mlir.gz", "wb") as file:
            file.write(program)
        stored, drawn, inputs = _draw_large(function.flat_arguments())
        description = {
            "num_state": function.num_state if function.changes_state else 0,
            "steps": _STEPS if function.changes_state else 1,
            "num_inputs": len(inputs),
            "drawn": drawn,
            "num_outputs": 0,
            "images": arguments.batch_size if function.changes_state else 1,
        }
        outputs = []
        if arguments.results:
            outputs = _run_steps(
                function.compiled(),
                [tf.constant(x) for x in inputs],
                description["num_state"],
                description["steps"],
            )
            description["num_outputs"] = len(outputs)
        np.savez_compressed(
            folder / f"{function.name}.npz",
            **{f"input_{i}": x for i, x in stored.items()},
            **{f"output_{i}": x for i, x in enumerate(outputs)},
        )
        (folder / f"{function.name}.json").write_text(json.dumps(description))
        print(f"{function.name}: {len(program) / 1e3:.0f} kB", flush=True)


def _draw_large(
    tensors: list[Any],
) -> tuple[dict[int, np.ndarray], list[dict[str, Any]], list[np.ndarray]]:
    """Replaces large arguments by arrays that another machine can draw.

    Returns:
        The arguments to store, by index; how the others are drawn; all.
    """
    stored, drawn, inputs = {}, [], []
    for index, tensor in enumerate(tensors):
        array = np.asarray(tensor)
        if array.dtype == np.float32 and array.size > _STORED_VALUES:
            recipe = {
                "index": index,
                "shape": array.shape,
                "mean": float(array.mean()),
                "deviation": float(array.std()),
            }
            array = _draw(recipe)
            recipe["last"] = float(array.flat[-1])
            drawn.append(recipe)
        else:
            stored[index] = array
        inputs.append(array)
    return stored, drawn, inputs


def _draw(recipe: dict[str, Any]) -> np.ndarray:
    """Draws an argument: normal, with mean and deviation of the original."""
    generator = np.random.default_rng(recipe["index"])
    values = generator.standard_normal(recipe["shape"], np.float32)
    array = (
        np.float32(recipe["mean"]) + np.float32(recipe["deviation"]) * values
    )
    if "last" in recipe and float(array.flat[-1]) != recipe["last"]:
        raise SystemExit(
            f"This NumPy ({np.__version__}) draws other numbers than the one"
            " that wrote the folder. Use the same version."
        )
    return array


def _run_steps(call, inputs, num_state: int, steps: int) -> list[Any]:
    """Calls a function repeatedly, with its first results as the new state.

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
    """Runs the stored functions in JAX, compares results, and measures."""
    import jax

    # Keras counts steps in 64 bits.
    jax.config.update("jax_enable_x64", True)
    device = jax.devices()[0]
    print(f"JAX {jax.__version__} on {device.device_kind}")
    for path in sorted(pathlib.Path(arguments.run).expanduser().glob("*.json")):
        description = json.loads(path.read_text())
        with gzip.open(path.with_suffix(".mlir.gz"), "rb") as file:
            program = file.read()
        drawn = {r["index"]: _draw(r) for r in description["drawn"]}
        with np.load(path.with_suffix(".npz")) as content:
            inputs = [
                jax.device_put(
                    drawn[i] if i in drawn else content[f"input_{i}"], device
                )
                for i in range(description["num_inputs"])
            ]
            expected = [
                content[f"output_{i}"]
                for i in range(description["num_outputs"])
            ]
        start = time.perf_counter()
        call = _compile(program, device)
        result = {
            "function": path.stem,
            "device": device.device_kind,
            "jax": jax.__version__,
            "compile_seconds": time.perf_counter() - start,
        }
        if expected:
            found = _run_steps(
                call, inputs, description["num_state"], description["steps"]
            )
            result |= _compare(found, expected)
        milliseconds, one_by_one = _measure(call, inputs)
        result["wall_ms"] = one_by_one
        result["images_per_second"] = 1e3 * description["images"] / milliseconds
        print(json.dumps(result), flush=True)


def _compile(program: bytes, device: Any) -> Any:
    """Compiles StableHLO for a device of JAX."""
    from jaxlib import xla_client

    executable = device.client.compile_and_load(
        program, xla_client.DeviceList((device,)), xla_client.CompileOptions()
    )

    def call(*flat: Any) -> list[Any]:
        results = executable.execute_sharded(flat)
        arrays = results.disassemble_into_single_device_arrays()
        return [array for (array,) in arrays]

    return call


def _measure(call: Any, inputs: list[Any]) -> tuple[float, float]:
    """Measures a function.

    Returns:
        Mean milliseconds of calls that are queued; median milliseconds of
        calls that are waited for one by one.
    """
    times: list[float] = []
    while len(times) < _MEASURED_RUNS and sum(times) < _LONGEST_SECONDS:
        start = time.perf_counter()
        _wait(call(*inputs))
        times.append(time.perf_counter() - start)
    start = time.perf_counter()
    for _ in times:
        results = call(*inputs)
    _wait(results)
    queued = (time.perf_counter() - start) / len(times)
    return 1e3 * queued, 1e3 * float(np.median(times))


def _wait(results: list[Any]) -> None:
    for result in results:
        result.block_until_ready()


def _compare(found: list[Any], expected: list[Any]) -> dict[str, float]:
    """Counts the integers that differ, and finds by how much floats differ."""
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
    return {
        "integers": total,
        "unequal_integers": unequal,
        "largest_relative_difference": largest,
    }


class _Parser(argparse.ArgumentParser):
    """A parser whose errors look like those of the other programs."""

    def error(self, message: str) -> NoReturn:
        """Prints an error and exits."""
        print(f"Error: {message.rstrip('.')}. See --help.", file=sys.stderr)
        sys.exit(2)


def main() -> None:
    """Runs the program."""
    parser = _Parser(
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
        "--accelerator",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="write operations that are fast on accelerators",
    )
    parser.add_argument(
        "--results",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="write the results in TensorFlow, to compare with",
    )
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
