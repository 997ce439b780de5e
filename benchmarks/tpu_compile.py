# SPDX-License-Identifier: Apache-2.0
"""Compiles a training step and the inference for a TPU v5e, without a TPU.

    python -m venv tpu && tpu/bin/pip install -r benchmarks/tpu_requirements.txt
    tpu/bin/python benchmarks/tpu_compile.py

TensorFlow lowers each function with the kernels that it has for TPUs; JAX then
passes the result to the TPU compiler, which reports memory and costs:
`least_ms` is the least time of its operations and bytes. A process can load the
compiler only once, so each step has a process of its own. Temporaries of
gigabytes show that an operation does not suit TPUs.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from deeplab2_like import errors  # noqa: E402
from deeplab2_like.console import path_flags, program  # noqa: E402

_BACKBONES = flags.DEFINE_list(
    "backbones", ["resnet50", "mobilenet_v3_large"], "Networks to compile."
)
_FUNCTIONS = flags.DEFINE_list(
    "functions",
    ["network", "postprocess", "inference", "training_step"],
    "Functions of each network to compile.",
)
_SIZE = flags.DEFINE_list(
    "size", ["1025", "2049"], "Height and width of images and crops."
)
_PRECISION = flags.DEFINE_enum(
    "precision", "bfloat16", ("bfloat16", "float32"), "Of computations."
)
_TOPOLOGY = flags.DEFINE_string("topology", "v5e:2x2", "TPU topology.")
_EFFORT = flags.DEFINE_float(
    "effort",
    -1.0,
    "How long the compiler searches for the fastest program. At 0, its "
    "default, a dilated convolution of many channels takes over a minute.",
    lower_bound=-1.0,
    upper_bound=1.0,
)
_OUT = path_flags.define("out", None, "File of JSON lines to append to.")
# A flag without a text is not shown: the program itself uses it.
_STEP = flags.DEFINE_string("step", None, "")

# bfloat16 operations and bytes a second of a v5e, by its data sheet. The
# compiler's own estimate of the time is not a number for some functions.
_PEAK_FLOPS = 197e12
_PEAK_BYTES = 819e9
# Values that the libraries would otherwise request from a TPU machine.
_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-1",
    "TPU_WORKER_ID": "0",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_CHIPS_PER_HOST_BOUNDS": "1,1,1",
    "TPU_HOST_BOUNDS": "1,1,1",
    "JAX_PLATFORMS": "cpu",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


def _lower(backbone: str, name: str, path: pathlib.Path) -> None:
    """Writes a function as StableHLO with the kernels for TPUs."""
    from benchmarks import pure_functions

    size = tuple(int(side) for side in _SIZE.value)
    precision = (
        f'trainer_options {{ compute_precision: "{_PRECISION.value}" }}',
    )
    if name == "training_step":
        function = pure_functions.make_training_step(
            backbone, size, 1, precision
        )
    else:
        made = pure_functions.make_inference(backbone, size, precision)
        (function,) = (f for f in made if f.name == name)
    path.write_bytes(function.lower("TPU", accelerator=True))


def _compile(path: pathlib.Path) -> None:
    """Compiles StableHLO and prints memory and costs as JSON."""
    from jax.experimental import topologies
    from jax.interpreters import mlir
    from jaxlib import xla_client
    from jaxlib.mlir.dialects import stablehlo

    topology = topologies.get_topology_desc(_TOPOLOGY.value, platform="tpu")
    device = topology.devices[0]
    options = xla_client.CompileOptions()
    options.num_replicas = options.num_partitions = 1
    build = options.executable_build_options
    build.exec_time_optimization_effort = _EFFORT.value
    options.device_assignment = xla_client.DeviceAssignment.create(
        np.array([[device.id]], np.int32)
    )
    with mlir.make_ir_context() as context:
        module = stablehlo.deserialize_portable_artifact(
            context, path.read_bytes()
        )
        start = time.perf_counter()
        executable = device.client.compile(
            module, xla_client.DeviceList((device,)), options
        )
    seconds = time.perf_counter() - start
    memory = executable.get_compiled_memory_stats()
    costs = executable.cost_analysis()
    flops = costs.get("flops", 0.0)
    traffic = costs.get("bytes accessed", 0.0)
    result = {
        "compile_seconds": seconds,
        "temporaries_mb": memory.temp_size_in_bytes / 1e6,
        "arguments_mb": memory.argument_size_in_bytes / 1e6,
        "outputs_mb": memory.output_size_in_bytes / 1e6,
        "code_mb": memory.generated_code_size_in_bytes / 1e6,
        "gflop": flops / 1e9,
        "gigabytes": traffic / 1e9,
        "least_ms": 1e3 * max(flops / _PEAK_FLOPS, traffic / _PEAK_BYTES),
    }
    print(json.dumps(result))


def _run_step(*step: str) -> str:
    """Runs a step in a process of its own; returns its standard output."""
    command = [
        sys.executable,
        __file__,
        f"--step={','.join(step)}",
        f"--size={','.join(_SIZE.value)}",
        f"--precision={_PRECISION.value}",
        f"--topology={_TOPOLOGY.value}",
        f"--effort={_EFFORT.value}",
    ]
    done = subprocess.run(
        command,
        env={**os.environ, **_ENVIRONMENT},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()[-15:]
        raise errors.UserError("\n".join([f"{' '.join(step)} failed:", *said]))
    return done.stdout


def _measure(backbone: str, name: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "function.mlir")
        _run_step("lower", backbone, name, path)
        result = json.loads(_run_step("compile", path).splitlines()[-1])
    return {
        "backbone": backbone,
        "function": name,
        "size": "x".join(_SIZE.value),
        "precision": _PRECISION.value,
        "topology": _TOPOLOGY.value,
        "effort": _EFFORT.value,
        **result,
    }


def _main(arguments: Sequence[str]) -> None:
    if arguments:
        raise errors.ConfigError(
            f"Unexpected argument {arguments[0]!r}: see --help."
        )
    if _STEP.value:
        kind, *rest = _STEP.value.split(",")
        if kind == "lower":
            _lower(rest[0], rest[1], pathlib.Path(rest[2]))
        else:
            _compile(pathlib.Path(rest[0]))
        return
    columns = ("temporaries_mb", "arguments_mb", "gflop", "gigabytes")
    columns += ("least_ms", "compile_seconds")
    print(f"{'backbone':20}{'function':15}", *(f"{c:>15}" for c in columns))
    for backbone in _BACKBONES.value:
        for name in _FUNCTIONS.value:
            result = _measure(backbone, name)
            numbers = (f"{result[column]:15.1f}" for column in columns)
            print(f"{backbone:20}{name:15}", *numbers, flush=True)
            if _OUT.value:
                with open(_OUT.value, "a", encoding="utf-8") as file:
                    file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    program.run(_main)
