# SPDX-License-Identifier: Apache-2.0
"""The table of all shipped configs: size, cost and published quality.

    python benchmarks/model_zoo.py                          # prints the table
    python benchmarks/model_zoo.py --out=docs/model_zoo.md  # writes it there

Parameters and multiply-adds are counted from a graph of the network without
its weights, in a minute or two for all configs. Published figures are taken
from the comments at the beginning of the configs.
"""

import pathlib
import re
import sys
from collections.abc import Iterator, Sequence

from absl import flags

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from deeplab2_like import config as config_lib  # noqa: E402
from deeplab2_like import errors  # noqa: E402
from deeplab2_like.console import path_flags, program  # noqa: E402

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()
_OUT = path_flags.define(
    "out",
    None,
    "Markdown file whose table, between the lines BEGIN and END, is replaced.",
    flag_values=_FLAGS,
)
_CONFIGS = flags.DEFINE_string(
    "configs",
    "",
    "Only configs whose name contains this.",
    flag_values=_FLAGS,
)

BEGIN = "<!-- BEGIN: benchmarks/model_zoo.py -->"
END = "<!-- END -->"
_PUBLISHED = re.compile(
    r"^# Published \(deeplab2, not re-measured here\): \S+ val PQ (\d+\.\d+)"
    r"(?:, mIoU (\d+\.\d+))?",
    re.MULTILINE,
)
# Figures of other systems have the names of who measured them.
_PUBLISHED_BY = re.compile(
    r"^# Published \(not re-measured here\), \S+ val:\n"
    r"#\s+(\w+) PQ (\d+\.\d+)",
    re.MULTILINE,
)


def make_table(configs: Sequence[str]) -> Iterator[str]:
    """Yields the lines of the tables, one table a data set."""
    folder = ""
    for name in configs:
        data, _, rest = name.partition("/")
        if data != folder:
            if folder:
                yield ""
            folder = data
            yield f"`configs/{data}/`:"
            yield ""
            yield (
                "| config | canvas | parameters, M (backbone) | multiply-adds,"
                " G | published PQ (mIoU) |"
            )
            yield "|---|---|---|---|---|"
        yield _make_row(name, rest)


def _make_row(name: str, short_name: str) -> str:
    from deeplab2_like.labels import descriptor
    from deeplab2_like.meta_architectures import build
    from deeplab2_like.model import complexity

    options = config_lib.load(name, environ={}).options
    dataset = descriptor.load(options.train_dataset_options.dataset)
    system = build.build_system(options, dataset)
    canvas = list(options.eval_dataset_options.crop_size)
    try:
        found = complexity.compute_complexity(
            lambda: system.build_model(synchronize_batch_norm=False), canvas
        )
    except errors.ConfigError as error:
        print(f"{name}: {error}", file=sys.stderr)
        size = ["not built yet", ""]
    else:
        size = [
            f"{found.num_parameters / 1e6:.2f}"
            f" ({found.num_backbone_parameters / 1e6:.2f})",
            f"{found.multiply_adds / 1e9:.1f}",
        ]
    cells = [
        f"`{short_name}`",
        f"{canvas[0]} x {canvas[1]}",
        *size,
        find_published(config_lib.paths.find_config(name).read_text()),
    ]
    return f"| {' | '.join(cells)} |"


def find_published(text: str) -> str:
    """Returns the published figures in the comments of a config, "" if none."""
    others = _PUBLISHED_BY.search(text)
    if others is not None:
        return f"{others[2]}, {others[1]}"
    found = _PUBLISHED.search(text)
    if found is None:
        return ""
    quality, iou = found.groups()
    return f"{quality} ({iou})" if iou else quality


def replace_table(text: str, lines: Sequence[str]) -> str:
    """Replaces the table in a Markdown text.

    Raises:
        DataError: The text has no lines `BEGIN` and `END`.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise errors.DataError(
            f"The file has no lines {BEGIN!r} and {END!r}, between which the "
            "table belongs. Add them."
        )
    return "\n".join([before + begin, *lines, end + after])


def _main(arguments: Sequence[str]) -> None:
    program.refuse_arguments(arguments)
    configs = [n for n in config_lib.list_configs() if _CONFIGS.value in n]
    lines = list(make_table(configs))
    if not _OUT.value:
        print("\n".join(lines))
        return
    path = pathlib.Path(_OUT.value)
    path.write_text(replace_table(path.read_text(), lines))


if __name__ == "__main__":
    program.run(_main, _FLAGS)
