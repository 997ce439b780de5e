# SPDX-License-Identifier: Apache-2.0
import dataclasses
import re

import pytest

from deeplab2_like.exports import exported_model, serving_commands

_XLA = "--xla_cpu_compilation_enabled=true"
_PLAIN = ["serving_default", "encoded", "encoded_compact"]


@pytest.fixture
def info():
    return exported_model.ExportInfo(
        experiment_name="city",
        checkpoint="ckpt-1",
        step=1,
        has_instances=True,
        max_pixels=10_000,
        canvas_size=[50, 50],
        jit_compile=False,
        compute_precision="float32",
        versions={},
        parity={},
        signatures=_PLAIN,
        batch_sizes=[1, 2, 4],
    )


def _blocks(text):
    return re.findall(r"```\n(.*?)\n```", text, re.S)


def test_a_plain_export_needs_no_flag(info):
    plain, batching = _blocks(serving_commands.describe(info))
    assert plain == (
        "tensorflow_model_server --rest_api_port=8501 --model_name=city \\\n"
        "  --model_base_path=/models/city"
    )
    assert batching == plain + (
        " \\\n  --enable_batching=true \\\n"
        "  --batching_parameters_file=/models/city/1/batching_params.pbtxt"
    )
    assert not list(serving_commands.list_remarks(info))


def test_each_kind_of_signature_has_its_command(info):
    twins = [f"{name}_xla" for name in _PLAIN]
    both = dataclasses.replace(info, signatures=_PLAIN + twins)
    text = serving_commands.describe(both)
    plain, compiled, _ = _blocks(text)
    assert _XLA not in plain
    assert compiled == f"{plain} {_XLA}"
    before = text.split("```")[2]
    assert all(f"`{name}`" in before for name in twins)
    assert "--xla_gpu_compilation_enabled=true" in text
    (remark,) = serving_commands.list_remarks(both)
    assert not remark.startswith("warning")
    assert _XLA in remark


def test_a_compiled_export_always_has_the_flag(info):
    compiled = dataclasses.replace(info, jit_compile=True)
    for block in _blocks(serving_commands.describe(compiled)):
        assert _XLA in block
    (remark,) = serving_commands.list_remarks(compiled)
    assert remark.startswith("warning: ")
    assert "\\" not in remark


def test_single_files_need_no_batching(info):
    alone = dataclasses.replace(info, batch_sizes=[1])
    assert len(_blocks(serving_commands.describe(alone))) == 1
