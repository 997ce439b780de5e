# SPDX-License-Identifier: Apache-2.0
"""How many files a server puts into one call of an exported model.

TensorFlow Serving reads `batching_params.pbtxt`, a `BatchingParameters` of its
own package, from the folder of the SavedModel (with
--enable_per_model_batching_parameters) or from the file that a flag names. It
fills batches up to the next of the allowed sizes, which are those that the
warm-up has run.
"""

from collections.abc import Sequence

from deeplab2_like import errors

FILE = "batching_params.pbtxt"
# On processors larger batches are hardly faster, and those who wait longer.
_DEFAULT_SIZES = (1, 2, 4)
_MAX_SIZE = 1 << 10

_TEXT = """\
# Of encoded_compact and encoded_overlay, whose files may have any sizes. The
# other signatures take images of one size and must not be batched.
max_batch_size {{ value: {largest} }}
# Nothing waits for others to come.
batch_timeout_micros {{ value: 0 }}
max_enqueued_batches {{ value: 64 }}
# One call of the model keeps all processors busy.
num_batch_threads {{ value: 1 }}
{allowed}"""


def choose_sizes(
    wanted: Sequence[int] | None, max_rows: int, *, has_fixed_canvas: bool
) -> list[int]:
    """Chooses the numbers of files of a call.

    Args:
        wanted: What the user wants; None for the default.
        max_rows: Most files of a call; see `ExportInfo.max_rows`.
        has_fixed_canvas: Whether the sizes of the canvases are fixed. If not,
            files are computed one after the other, and the default is 1.

    Returns:
        The numbers, ascending, beginning with 1.

    Raises:
        ConfigError: A number is below 1 or too large.
    """
    if wanted is None:
        default = _DEFAULT_SIZES if has_fixed_canvas else (1,)
        return [size for size in default if size <= max_rows]
    limit = min(max_rows, _MAX_SIZE)
    for size in wanted:
        if not 1 <= size <= limit:
            raise errors.ConfigError(
                f"--batch_sizes has {size}. Allowed are 1 to {limit} files, "
                "whose canvases have --max_pixels together."
            )
    return sorted({1, *wanted})


def make_text(sizes: Sequence[int]) -> str:
    """Makes the content of the file.

    Args:
        sizes: Numbers of files of a call, ascending.
    """
    allowed = "".join(f"allowed_batch_sizes: {size}\n" for size in sizes)
    return _TEXT.format(largest=sizes[-1], allowed=allowed)
