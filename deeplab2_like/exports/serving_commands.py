# SPDX-License-Identifier: Apache-2.0
"""The commands that serve an exported model with TensorFlow Serving."""

import shlex
from collections.abc import Iterator

from deeplab2_like.exports import batching, signatures, xla_off
from deeplab2_like.exports.exported_model import ExportInfo


def choose_name(experiment_name: str) -> str:
    """Returns the name of a model, from that of the experiment."""
    if not experiment_name or "$" in experiment_name:
        return "model"  # A placeholder that was not filled.
    return experiment_name


def make_command(
    info: ExportInfo,
    *,
    is_compiled: bool = False,
    is_batching: bool = False,
    on_gpu: bool = False,
) -> str:
    """Makes the command that serves `/models/NAME/1`.

    Args:
        info: Facts about the model.
        is_compiled: Whether signatures that XLA compiles are used.
        is_batching: Whether the server puts requests together.
        on_gpu: Whether they are computed on a GPU.
    """
    name = shlex.quote(choose_name(info.experiment_name))
    lines = [
        f"tensorflow_model_server --rest_api_port=8501 --model_name={name}",
        f"--model_base_path=/models/{name}",
    ]
    if is_compiled:
        flag = xla_off.SERVER_FLAG_GPU if on_gpu else xla_off.SERVER_FLAG
        lines[-1] += f" {flag}"
    if is_batching:
        lines += [
            "--enable_batching=true",
            f"--batching_parameters_file=/models/{name}/1/{batching.FILE}",
        ]
    return " \\\n  ".join(lines)


def describe(info: ExportInfo) -> str:
    """Returns the paragraphs of the README about the server."""
    twins = [name for name in info.signatures if signatures.is_twin(name)]
    plain = [name for name in info.signatures if not signatures.is_twin(name)]
    name = choose_name(info.experiment_name)
    parts = [
        f"Copy this folder to `/models/{name}/1`."
        + (
            " The model is compiled by XLA, which the server\nswitches off: "
            "without the flag it answers every request with an error."
            if info.jit_compile
            else ""
        ),
        _block(_list(plain), make_command(info, is_compiled=info.jit_compile)),
    ]
    if twins:
        parts.append(
            _block(
                f"The server switches XLA off. For {_list(twins, '')}\n(the "
                "others run, too, then)",
                make_command(info, is_compiled=True),
            )
        )
    if twins or info.jit_compile:
        parts.append(
            f"On a GPU the flag is `{xla_off.SERVER_FLAG_GPU}` instead."
        )
    if info.batch_sizes[-1] > 1:
        rows = [n for n in plain if signatures.has_independent_rows(n)]
        if rows:
            sizes = ", ".join(map(str, info.batch_sizes))
            parts.append(
                _block(
                    f"To put requests together, {sizes} files at a time, which "
                    "the warm-up\nhas run, serve so and send only "
                    f"{_list(rows, '')}, whose files\nmay have any sizes: "
                    "requests for the other signatures would fail together "
                    "where\ntheir images have different sizes",
                    make_command(
                        info, is_compiled=info.jit_compile, is_batching=True
                    ),
                )
            )
    return "\n\n".join(parts) + "\n"


def list_remarks(info: ExportInfo) -> Iterator[str]:
    """Lists sentences about serving what XLA compiles."""
    command = " ".join(make_command(info, is_compiled=True).split("\\\n"))
    command = " ".join(command.split())
    gpu = f"(on a GPU {xla_off.SERVER_FLAG_GPU})"
    if info.jit_compile:
        yield (
            "warning: This model is compiled by XLA, which TensorFlow Serving "
            f"switches off: start it as {command} {gpu}, or export with "
            "--jit_compile=false."
        )
    if any(map(signatures.is_twin, info.signatures)):
        yield (
            "The signatures whose names end in "
            f"{signatures.XLA_SUFFIX} are compiled by XLA, which TensorFlow "
            f"Serving switches off; for them start it as {command} {gpu}."
        )


def _list(names: list[str], beginning: str = "For ") -> str:
    return beginning + ", ".join(f"`{name}`" for name in names)


def _block(text: str, command: str) -> str:
    return f"{text}:\n\n```\n{command}\n```"
