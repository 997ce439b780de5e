# SPDX-License-Identifier: Apache-2.0
"""Tensors as JSON, in the format of TensorFlow Serving's REST interface.

`parse_predict` reads the body of `:predict`, in rows or in columns;
`format_predict` writes the answer in the same form. Behavior is that of
`tensorflow_serving/util/json_tensor.cc`; sentences are our own, with its key
words.
"""

import base64
import binascii
import dataclasses
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like.server import failures, signatures
from deeplab2_like.server.signatures import Arrays, Signature, TensorInfo

# An empty list has two bytes in JSON, and 72 in memory. A pixel of three
# channels has seven at least.
_MAX_LISTS = 1_000_000
_BYTES_PER_LIST = 7
_BASE64_KEY = "b64"
_BYTES_ENDING = "_bytes"


@dataclasses.dataclass(frozen=True)
class PredictRequest:
    """The body of a `:predict` request.

    Attributes:
        signature_name: Name of the signature.
        inputs: The inputs by name.
        is_row: Whether the answer is asked for in rows, "predictions".
    """

    signature_name: str
    inputs: Arrays
    is_row: bool


def load_object(body: bytes) -> dict[str, Any]:
    """Parses a body that must be a JSON object.

    NaN, Infinity and -Infinity are numbers.

    Raises:
        RequestError: It is no JSON object.
    """
    if not body.strip():
        raise failures.invalid(
            "JSON Parse error: The document is empty at offset: 0. Send a JSON "
            "object."
        )
    lists = body.count(b"[") + body.count(b"{")
    if lists > max(_MAX_LISTS, len(body) // _BYTES_PER_LIST):
        raise failures.invalid(
            f"JSON Parse error: the document has {lists} lists and objects in "
            f"{len(body)} bytes. Send fewer; pixels as JPEG or PNG files."
        )
    try:
        document = json.loads(body.decode("utf-8"))
    except json.JSONDecodeError as error:
        raise failures.invalid(
            f"JSON Parse error: {error.msg} at offset: {error.pos}."
        ) from None
    except (ValueError, RecursionError) as error:
        # Text that is not UTF-8, a number of too many digits, or too deep.
        kind = type(error).__name__
        raise failures.invalid(
            f"JSON Parse error: the document cannot be read ({kind})."
        ) from None
    if not isinstance(document, dict):
        raise failures.invalid(
            f"The request is a JSON {_kind(document)}. It must be an object."
        )
    return document


def parse_predict(
    body: bytes, find_signature: Callable[[str], Signature]
) -> PredictRequest:
    """Parses the body of a `:predict` request.

    Args:
        body: The bytes of the body.
        find_signature: Function of the name of a signature; raises a
            `RequestError` for one that does not exist.

    Raises:
        RequestError: The body is not as it must be.
    """
    document = load_object(body)
    name = document.get("signature_name", signatures.DEFAULT_SIGNATURE)
    if not isinstance(name, str):
        raise failures.invalid(
            f"signature_name is {failures.shorten(name)}. It must be a string "
            "value."
        )
    name = name or signatures.DEFAULT_SIGNATURE
    infos = find_signature(name).inputs
    has_rows, has_columns = "instances" in document, "inputs" in document
    if has_rows and has_columns:
        raise failures.invalid(
            "Not formatted correctly: the request has both 'instances' and "
            "'inputs'. Send one of them."
        )
    if has_rows:
        inputs = _parse_rows(document["instances"], infos)
    elif has_columns:
        inputs = _parse_columns(document["inputs"], infos)
    else:
        raise failures.invalid(
            "Missing 'inputs' or 'instances' key in the request."
        )
    return PredictRequest(name, inputs, has_rows)


def _parse_rows(rows: Any, infos: Mapping[str, TensorInfo]) -> Arrays:
    if not isinstance(rows, list) or not rows:
        raise failures.invalid(
            f"'instances' is {_describe_empty(rows)}. It must be a list/array "
            "with at least one row."
        )
    first = rows[0]
    if not isinstance(first, dict) or _is_base64(first):
        if len(infos) != 1:
            raise failures.invalid(
                "Instances must be objects with the inputs "
                f"{', '.join(sorted(infos))}."
            )
        ((name, info),) = infos.items()
        for row in rows:
            if isinstance(row, dict) and not _is_base64(row):
                raise failures.invalid(
                    "Expecting value/list but got object: all instances must "
                    "be of one kind."
                )
        return {name: parse_tensor(name, rows, info)}
    for row in rows:
        if not isinstance(row, dict):
            raise failures.invalid(
                f"Expecting object but got {_kind(row)}: all instances must be "
                "of one kind."
            )
        if set(row) != set(infos):
            raise failures.invalid(
                f"An instance has the inputs {failures.shorten(sorted(row))}. "
                f"It must have {', '.join(sorted(infos))}, and no others."
            )
    return {
        name: parse_tensor(name, [row[name] for row in rows], info)
        for name, info in infos.items()
    }


def _parse_columns(columns: Any, infos: Mapping[str, TensorInfo]) -> Arrays:
    if not isinstance(columns, dict) or _is_base64(columns):
        if len(infos) != 1:
            raise failures.invalid(
                "'inputs' must be an object with the inputs "
                f"{', '.join(sorted(infos))}."
            )
        ((name, info),) = infos.items()
        return {name: parse_tensor(name, columns, info)}
    missing = sorted(set(infos) - set(columns))
    if missing:
        raise failures.invalid(
            f"Missing named input: {missing[0]} in 'inputs' object."
        )
    return {
        name: parse_tensor(name, columns[name], info)
        for name, info in infos.items()
    }


def parse_tensor(name: str, value: Any, info: TensorInfo) -> npt.NDArray[Any]:
    """Makes an array of nested lists.

    Args:
        name: Name of the tensor, for errors.
        value: A value, or nested lists of equal lengths.
        info: The tensor; only its type is looked at.

    Raises:
        RequestError: Lists differ in length or depth, or a value is not of the
            type.
    """
    # Of each depth.
    lengths: list[set[int]] = []
    level = [value]
    while list in (kinds := set(map(type, level))):
        if len(kinds) > 1:
            raise failures.invalid(
                f"Tensor {name} has lists beside values. Expecting shape of "
                "equal depth everywhere."
            )
        lengths.append(set(map(len, level)))
        level = list(itertools.chain.from_iterable(level))
        if len(lengths) > signatures.MAX_RANK:
            raise failures.invalid(
                f"Tensor {name} has lists within lists, more than "
                f"{signatures.MAX_RANK}. It must be {info.describe()}."
            )
    for different in lengths:
        if len(different) > 1:
            raise failures.invalid(
                f"Tensor {name} has lists of {min(different)} and of "
                f"{max(different)} values. Expecting tensor size to be the "
                "same everywhere."
            )
    values = _convert(name, level, info)
    return values.reshape([min(each) for each in lengths])


def _convert(
    name: str, values: Sequence[Any], info: TensorInfo
) -> npt.NDArray[Any]:
    """Makes an array [N] of values that are no lists."""
    kinds = set(map(type, values))
    dtype = info.numpy_dtype
    if info.dtype == signatures.STRING:
        return signatures.make_strings(
            [_to_bytes(name, value) for value in values]
        )
    allowed: set[type] = {int}
    if dtype.kind in "bf":
        allowed = {bool} if dtype.kind == "b" else {int, float}
    if kinds - allowed:
        wrong = next(v for v in values if type(v) not in allowed)
        raise failures.invalid(
            f"Tensor {name} has {failures.shorten(wrong)}, a {_kind(wrong)}, "
            f"which is not of expected type: {info.dtype}."
        )
    if dtype.kind in "iu":
        low, high = min(values, default=0), max(values, default=0)
        signatures.check_range(name, low, high, info)
    if dtype.kind == "f" and int in kinds:
        _check_exact(name, values, dtype)
    with np.errstate(over="ignore"):
        # Decimals that are too large become infinite.
        return np.array(
            values, np.float64 if dtype.kind == "f" else dtype
        ).astype(dtype)


def _check_exact(
    name: str, values: Sequence[Any], dtype: np.dtype[Any]
) -> None:
    """Checks that whole numbers are exact in a type of floats."""
    exact = 1 << (np.finfo(dtype).nmant + 1)
    for value in values:
        if type(value) is int and abs(value) > exact:
            digits = abs(value)
            odd = digits >> ((digits & -digits).bit_length() - 1)
            if odd > exact or digits > float(np.finfo(dtype).max):
                raise failures.invalid(
                    f"Tensor {name} has {failures.shorten(value)}, which "
                    f"{dtype} cannot hold without loss of precision."
                )


def _to_bytes(name: str, value: Any) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise failures.invalid(
                f"Tensor {name} has a text that is not valid Unicode. Send "
                'bytes as {"b64": "..."}.'
            ) from None
    if isinstance(value, dict) and _is_base64(value):
        return decode_base64(name, value[_BASE64_KEY])
    raise failures.invalid(
        f"Tensor {name} has {failures.shorten(value)}, a {_kind(value)}, which "
        'is not of expected type: string. Send text, or {"b64": "..."}.'
    )


def decode_base64(name: str, text: Any) -> bytes:
    """Decodes base64.

    Args:
        name: Name of the tensor, for errors.
        text: What a client sent.

    Raises:
        RequestError: It is no base64 text.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise failures.invalid(
            f"Tensor {name} has a value that is not valid base64. Encode the "
            "bytes anew, without line breaks (base64 -w0)."
        ) from None


def _is_base64(value: dict[str, Any]) -> bool:
    return len(value) == 1 and _BASE64_KEY in value


def _kind(value: Any) -> str:
    """Returns what JSON calls a value."""
    kinds = {
        dict: "object",
        list: "list",
        str: "string",
        bool: "bool",
        int: "number",
        float: "decimal number",
    }
    return kinds.get(type(value), "null")


def _describe_empty(value: Any) -> str:
    return "an empty list" if value == [] else f"a JSON {_kind(value)}"


def format_predict(outputs: Arrays, is_row: bool) -> bytes:
    """Writes the answer of a `:predict` request.

    Args:
        outputs: The outputs by name.
        is_row: Whether to write rows ("predictions"), not columns ("outputs").

    Raises:
        RequestError: Rows are asked for and the outputs have none, or not
            equally many.
    """
    if not outputs:
        raise failures.invalid("Cannot convert an empty tensor map to JSON.")
    if not is_row:
        columns = {n: format_tensor(n, x) for n, x in outputs.items()}
        (only, *others) = columns.values()
        return _dump({"outputs": columns if others else only})
    lengths = {array.shape[:1] for array in outputs.values()}
    if lengths == {()} or len(lengths) > 1:
        raise failures.invalid(
            "The outputs have no first axis or an inconsistent batch size. Ask "
            "for columns: send 'inputs' in place of 'instances'."
        )
    if len(outputs) == 1:
        ((name, array),) = outputs.items()
        return _dump({"predictions": format_tensor(name, array)})
    names = sorted(outputs)
    parts = [format_tensor(name, outputs[name]) for name in names]
    rows = [
        dict(zip(names, row, strict=True)) for row in zip(*parts, strict=True)
    ]
    return _dump({"predictions": rows})


def format_tensor(name: str, array: npt.NDArray[Any]) -> Any:
    """Makes what JSON can hold of an array.

    Args:
        name: Its name; the strings of one that ends in "_bytes" become base64.
        array: The array.

    Raises:
        RequestError: Its type has no JSON form.
    """
    if array.dtype == object:
        convert = _from_bytes if name.endswith(_BYTES_ENDING) else _from_text
        return _map_nested(convert, array.tolist())
    if array.dtype.kind == "f" and array.dtype.itemsize < 8:
        # The shortest decimals that read as the same float.
        return _map_nested(float, array.astype(str).tolist())
    if array.dtype.kind not in "biuf":
        raise failures.invalid(
            f"Output {name} of tensor type: {array.dtype} has no JSON form."
        )
    return array.tolist()


def _map_nested(convert: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, list):
        return [_map_nested(convert, part) for part in value]
    return convert(value)


def _from_bytes(value: bytes) -> dict[str, str]:
    return {_BASE64_KEY: base64.b64encode(value).decode("ascii")}


def _from_text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _dump(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode("ascii")
