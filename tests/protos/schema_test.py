# SPDX-License-Identifier: Apache-2.0
"""The schema is a promise to every config that was ever written."""

import pathlib
import subprocess

import pytest

from deeplab2_like.config import explain, textproto
from deeplab2_like.protos import (
    config_pb2,
    consistency_pb2,
    dataset_descriptor_pb2,
    dataset_pb2,
    evaluator_pb2,
    model_pb2,
    naive_student_pb2,
    semi_supervised_pb2,
    trainer_pb2,
)

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_SNAPSHOT = pathlib.Path(__file__).with_name("field_numbers.txt")
_FILES = (
    config_pb2,
    consistency_pb2,
    dataset_descriptor_pb2,
    dataset_pb2,
    evaluator_pb2,
    model_pb2,
    naive_student_pb2,
    semi_supervised_pb2,
    trainer_pb2,
)
# Files whose messages are ours as a whole.
_OURS = (
    "consistency.proto",
    "dataset_descriptor.proto",
    "naive_student.proto",
    "semi_supervised.proto",
)


def _messages():
    def walk(descriptor):
        yield descriptor
        for nested in descriptor.nested_types:
            yield from walk(nested)

    for file in _FILES:
        for descriptor in file.DESCRIPTOR.message_types_by_name.values():
            yield from walk(descriptor)


def _describe_fields():
    lines = []
    for message in _messages():
        name = message.full_name.removeprefix("deeplab2_like.")
        for field in message.fields:
            label = "repeated" if textproto.is_repeated(field) else "optional"
            kind = field.message_type or field.enum_type
            kind = kind.full_name if kind else f"type {field.type}"
            kind = kind.removeprefix("deeplab2_like.")
            default = ""
            if field.has_default_value:
                default = f" default {field.default_value!r}"
            lines.append(
                f"{name} {field.number} {field.name} {label} {kind}{default}"
            )
    for file in _FILES:
        for enum in file.DESCRIPTOR.enum_types_by_name.values():
            lines += [
                f"{enum.name} {value.number} {value.name} value"
                for value in enum.values
            ]
    return sorted(lines)


def test_numbers_names_types_and_defaults_never_change():
    """Adding a field adds a line; no line is ever changed or removed."""
    promised = set(_SNAPSHOT.read_text().splitlines())
    actual = set(_describe_fields())
    assert sorted(promised - actual) == []
    # Fields without a line: add it to the file.
    assert sorted(actual - promised) == []


def test_numbers_are_used_once():
    numbers = [tuple(line.split()[:2]) for line in _describe_fields()]
    assert len(numbers) == len(set(numbers))


def test_every_message_and_field_has_a_comment():
    comments = explain.read_comments()
    for message in _messages():
        assert comments.get(message.name), message.full_name
        for field in message.fields:
            key = f"{message.name}.{field.name}"
            assert len(comments.get(key, "")) > 10, key
    names = [message.name for message in _messages()]
    assert len(names) == len(set(names)), "comments are keyed by short names"


def test_fields_that_deeplab2_does_not_have_are_marked_and_numbered_apart():
    comments = explain.read_comments()
    for message in _messages():
        if message.file.name.endswith(_OURS):
            continue
        for field in message.fields:
            comment = comments[f"{message.name}.{field.name}"]
            assert comment.startswith("Ours") == (field.number >= 1000), field


@pytest.mark.parametrize(
    ("path", "default"),
    [
        ("model_options.backbone.name", "resnet50"),
        ("model_options.backbone.output_stride", 32),
        ("model_options.decoder.aspp_channels", 256),
        ("model_options.panoptic_deeplab.instance.enable", True),
        ("trainer_options.solver_options.use_sync_batchnorm", True),
        ("trainer_options.solver_options.base_learning_rate", 1e-3),
        ("trainer_options.solver_options.training_number_of_steps", 60000),
        ("trainer_options.steps_per_loop", 1000),
        ("train_dataset_options.batch_size", 32),
        ("train_dataset_options.sigma", 8.0),
        ("train_dataset_options.augmentations.scale_factor_step_size", 0.25),
        ("evaluator_options.center_score_threshold", 0.1),
        ("evaluator_options.keep_k_centers", 400),
        ("evaluator_options.merge_semantic_and_instance_with_tf_op", True),
    ],
)
def test_defaults_are_those_of_deeplab2(path, default):
    message = config_pb2.ExperimentOptions()
    for part in path.split("."):
        message = getattr(message, part)
    assert message == pytest.approx(default) if default else not message


def test_generated_code_is_that_of_the_schema(tmp_path):
    python = _ROOT / ".venv-protos" / "bin" / "python"
    if not python.exists():
        pytest.skip("the compiler is not installed; `make protos` does it")
    subprocess.run(
        [
            *(str(python), "-m", "grpc_tools.protoc"),
            "-Ideeplab2_like/protos=protos",
            *(f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"),
            # Protoc wants the very prefix of its -I flag.
            *(f"protos/{p.name}" for p in (_ROOT / "protos").glob("*.proto")),
        ],
        cwd=_ROOT,
        check=True,
    )
    made = tmp_path / "deeplab2_like" / "protos"
    for file in made.iterdir():
        committed = _ROOT / "deeplab2_like" / "protos" / file.name
        assert committed.read_text() == file.read_text(), file.name
