# SPDX-License-Identifier: Apache-2.0
"""Serves what `conftest.FakeModel` answers, by NVIDIA's Triton.

Runs in an environment of its own, which has nvidia-pytriton. It prints a line
when it is ready, and ends when its standard input does.
"""

import sys

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig


@batch
def _add_pixels(images):
    return {"sum": images.astype(np.int64).sum(axis=(1, 2, 3))[:, None]}


@batch
def _measure_files(image_bytes):
    files = image_bytes[:, 0].tolist()
    return {
        "length": np.array([[len(file)] for file in files], np.int32),
        "png_bytes": np.array([[file.upper()] for file in files], object),
    }


def _main(http_port, grpc_port, metrics_port):
    ports = TritonConfig(
        http_port=int(http_port),
        grpc_port=int(grpc_port),
        metrics_port=int(metrics_port),
    )
    config = ModelConfig(max_batch_size=8)
    with Triton(config=ports) as triton:
        triton.bind(
            model_name="images",
            infer_func=_add_pixels,
            inputs=[Tensor(name="images", dtype=np.uint8, shape=(-1, -1, 3))],
            outputs=[Tensor(name="sum", dtype=np.int64, shape=(1,))],
            config=config,
        )
        triton.bind(
            model_name="files",
            infer_func=_measure_files,
            inputs=[Tensor(name="image_bytes", dtype=bytes, shape=(1,))],
            outputs=[
                Tensor(name="length", dtype=np.int32, shape=(1,)),
                Tensor(name="png_bytes", dtype=bytes, shape=(1,)),
            ],
            config=config,
        )
        triton.run()
        print("ready", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    _main(*sys.argv[1:])
