# SPDX-License-Identifier: Apache-2.0
"""Reads pickles of weights without running anything that they contain.

A pickle is a program for a small stack machine. This machine knows the
operations that dictionaries of arrays need (protocols 0 to 5), takes names only
from a table, and checks each size against the file before it reads. Python's
own `pickle` module imports and calls whatever a file names, and its fast
version takes memory for sizes and indices that a file only claims.
"""

import codecs
import pickletools
from collections.abc import Callable
from typing import Any

from deeplab2_like import errors
from deeplab2_like.checkpoints.foreign import (
    pickled_names,
    sentences,
    streams,
)

_HIGHEST_PROTOCOL = 5
# Large checkpoints with their optimizers have some 100,000.
_MOST_OPERATIONS = 2_000_000
_LONGEST_LINE = 1000
_CURE_NAMES = (
    "only names of tensors, arrays and dictionaries are read and nothing is "
    "run, so save the weights alone, for example by "
    "torch.save(model.state_dict(), path)"
)
_CURE_ARRAYS = (
    "only arrays of booleans, integers and floats of up to 8 bytes in "
    "dictionaries with texts as keys are read, so save the weights alone in "
    "such a dictionary"
)

_CONSTANTS: dict[bytes, Any] = {
    b"N": None,
    b"\x88": True,
    b"\x89": False,
    b")": (),
}
_NUMBERS = {b"K": "<B", b"M": "<H", b"J": "<i", b"G": ">d"}
_LONGS = {b"\x8a": "<B", b"\x8b": "<i"}
# Format of the length, and what the bytes are.
_STRINGS = {
    b"X": ("<I", "utf-8"),
    b"\x8c": ("<B", "utf-8"),
    b"\x8d": ("<Q", "utf-8"),
    b"U": ("<B", "latin-1"),
    b"T": ("<i", "latin-1"),
    b"C": ("<B", None),
    b"B": ("<I", None),
    b"\x8e": ("<Q", None),
    b"\x96": ("<Q", None),
}
_PUTS = {b"q": "<B", b"r": "<I"}
_GETS = {b"h": "<B", b"j": "<I"}
_TUPLES = {b"\x85": 1, b"\x86": 2, b"\x87": 3}


class Unpickler:
    """Reads the pickles of a stream, one after the other.

    Attributes:
        storages: Storages by key that the pickles refer to; None if they must
            not refer to any.
    """

    def __init__(self, stream: streams.Stream, *, has_storages: bool):
        """Makes an unpickler.

        Args:
            stream: Bytes that begin with a pickle.
            has_storages: Whether tensors may lie outside of the pickle.
        """
        self.storages: dict[str, pickled_names.Storage] | None = (
            {} if has_storages else None
        )
        self._stream = stream
        self._where = stream.where
        self._operations = 0
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def load(self) -> Any:
        """Reads one pickle, up to its end.

        Returns:
            None, booleans, numbers, texts, bytes, lists, tuples, dictionaries
            with texts as keys, and `Tensor` and `PickledArray` of
            `pickled_names`. Keys that are numbers are texts such as "<3>".

        Raises:
            CheckpointError: The pickle is damaged, or it uses a name or an
                operation that is not read.
        """
        self._stack, self._marks, self._memo = [], [], {}
        code = b""
        try:
            while (code := self._stream.read(1)) != b".":
                self._count(1)
                self._run(code)
            return self._stack.pop()
        except errors.CheckpointError:
            raise
        except pickled_names.UnreadableError as error:
            raise sentences.refused(
                self._where, str(error), _CURE_ARRAYS
            ) from None
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise sentences.damaged(
                self._where,
                f"operation {_show_operation(code)} of its pickle, "
                f"{self._stream.left} bytes before the end, makes no sense "
                "there",
            ) from error

    def _run(self, code: bytes) -> None:
        """Runs one operation."""
        push, read_number = self._push, self._stream.read_number
        if code in _STRINGS:
            form, encoding = _STRINGS[code]
            data = self._stream.read(read_number(form))
            push(data if encoding is None else data.decode(encoding))
        elif code in _PUTS:
            self._memo[read_number(_PUTS[code])] = self._stack[-1]
        elif code in _GETS:
            push(self._memo[read_number(_GETS[code])])
        elif code in _NUMBERS:
            push(read_number(_NUMBERS[code]))
        elif code in _CONSTANTS:
            push(_CONSTANTS[code])
        elif code in _TUPLES:
            count = _TUPLES[code]
            if len(self._stack) < count:
                raise IndexError(count)
            self._stack[-count:] = [tuple(self._stack[-count:])]
        elif code in _LONGS:
            data = self._stream.read(read_number(_LONGS[code]))
            push(int.from_bytes(data, "little", signed=True))
        elif code in _OPERATIONS:
            _OPERATIONS[code](self)
        else:
            raise sentences.refused(
                self._where,
                f"uses operation {_show_operation(code)} of pickles, which "
                "dictionaries of arrays do not need, or is damaged",
                "save the weights alone, or copy or download it again",
            )

    def _count(self, operations: int) -> None:
        """Limits the work that a small file can ask for."""
        self._operations += operations
        if self._operations > _MOST_OPERATIONS:
            raise sentences.refused(
                self._where,
                f"has a pickle of more than {_MOST_OPERATIONS} operations",
                "save the weights alone",
            )

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop_mark(self) -> list[Any]:
        items = self._stack
        self._stack = self._marks.pop()
        return items

    def _mark(self) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _start(self) -> None:
        protocol = self._stream.read_number("<B")
        if protocol > _HIGHEST_PROTOCOL:
            raise sentences.refused(
                self._where,
                f"has a pickle of protocol {protocol}",
                f"protocols up to {_HIGHEST_PROTOCOL} are read, so save it "
                "with one of them",
            )

    def _frame(self) -> None:
        size = self._stream.read_number("<Q")
        if size > self._stream.left:
            self._stream.read(size)

    def _memoize(self) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _append(self) -> None:
        item = self._stack.pop()
        self._extend([item])

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, list):
            raise TypeError("list")
        target.extend(items)

    def _set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set_items([key, value])

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict):
            raise TypeError("dictionary")
        self._fill(target, items)

    def _fill(self, target: dict[str, Any], items: list[Any]) -> None:
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[pickled_names.make_key(key)] = value

    def _dictionary(self) -> None:
        made: dict[str, Any] = {}
        self._fill(made, self._pop_mark())
        self._push(made)

    def _name(self) -> None:
        module = self._stream.read_line(_LONGEST_LINE).decode("utf-8")
        name = self._stream.read_line(_LONGEST_LINE).decode("utf-8")
        self._look_up(module, name)

    def _stacked_name(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise TypeError("name")
        self._look_up(module, name)

    def _look_up(self, module: str, name: str) -> None:
        found = pickled_names.NAMES.get((module, name))
        if found is None:
            raise sentences.refused(
                self._where,
                f"names {sentences.shown(f'{module}.{name}')}",
                _CURE_NAMES,
            )
        self._push(found)

    def _instance(self) -> None:
        self._name()
        raise TypeError("instance")

    def _reduce(self) -> None:
        arguments, called = self._stack.pop(), self._stack.pop()
        if not isinstance(called, pickled_names.Name) or called.make is None:
            raise TypeError("function")
        if not isinstance(arguments, tuple):
            raise TypeError("arguments")
        for argument in arguments:
            if isinstance(argument, (tuple, list, dict)):
                self._count(len(argument))
        self._push(called.make(*arguments))

    def _build(self) -> None:
        state = self._stack.pop()
        pickled_names.set_state(self._stack[-1], state)

    def _storage(self) -> None:
        """Looks up a storage outside of the pickle (opcode BINPERSID)."""
        reference = self._stack.pop()
        if self.storages is None:
            raise sentences.refused(
                self._where,
                "refers to data outside of its pickle",
                "files of torch.save do so, which begin in another way, so "
                "save or download it again",
            )
        kind, storage_class, key, _device, size, *view = reference
        if kind != "storage" or not isinstance(key, str):
            raise TypeError("storage")
        if not isinstance(storage_class, pickled_names.Name):
            raise TypeError("class of a storage")
        if storage_class.element is None:
            raise TypeError("class of a storage")
        if type(size) is not int or not 0 <= size < 2**60:
            raise TypeError("size of a storage")
        if view not in ([], [None]):
            raise sentences.refused(
                self._where,
                f"has a storage {sentences.shown(key)} that is a part of "
                "another one",
                "today's PyTorch writes none, so load and save it there",
            )
        storage = pickled_names.Storage(key, storage_class.element, size)
        if self.storages.setdefault(key, storage) != storage:
            raise sentences.damaged(
                self._where,
                f"its storage {sentences.shown(key)} has two types or sizes",
            )
        self._push(storage)

    def _text_number(self) -> None:
        line = self._stream.read_line(_LONGEST_LINE)
        booleans = {b"00": False, b"01": True}
        self._push(booleans[line] if line in booleans else int(line))

    def _text_long(self) -> None:
        line = self._stream.read_line(_LONGEST_LINE)
        self._push(int(line.removesuffix(b"L")))

    def _text_float(self) -> None:
        self._push(float(self._stream.read_line(_LONGEST_LINE)))

    def _text_bytes(self) -> None:
        line = self._stream.read_line(self._stream.left)
        if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in b"'\"":
            raise ValueError("quotes")
        data, _ = codecs.escape_decode(line[1:-1])  # type: ignore[attr-defined]
        self._push(data.decode("latin-1"))

    def _text_unicode(self) -> None:
        line = self._stream.read_line(self._stream.left)
        self._push(line.decode("raw-unicode-escape"))

    def _text_put(self) -> None:
        index = int(self._stream.read_line(_LONGEST_LINE))
        self._memo[index] = self._stack[-1]

    def _text_get(self) -> None:
        index = int(self._stream.read_line(_LONGEST_LINE))
        self._push(self._memo[index])


def _show_operation(code: bytes) -> str:
    names = {known.code: known.name for known in pickletools.opcodes}
    return names.get(code.decode("latin-1"), f"0x{code.hex()}")


_OPERATIONS: dict[bytes, Callable[[Unpickler], None]] = {
    b"(": Unpickler._mark,
    b"]": lambda machine: machine._push([]),
    b"}": lambda machine: machine._push({}),
    b"t": lambda machine: machine._push(tuple(machine._pop_mark())),
    b"l": lambda machine: machine._push(machine._pop_mark()),
    b"d": Unpickler._dictionary,
    b"a": Unpickler._append,
    b"e": lambda machine: machine._extend(machine._pop_mark()),
    b"s": Unpickler._set_item,
    b"u": lambda machine: machine._set_items(machine._pop_mark()),
    b"c": Unpickler._name,
    b"\x93": Unpickler._stacked_name,
    b"i": Unpickler._instance,
    b"R": Unpickler._reduce,
    b"b": Unpickler._build,
    b"Q": Unpickler._storage,
    b"\x80": Unpickler._start,
    b"\x95": Unpickler._frame,
    b"\x94": Unpickler._memoize,
    b"I": Unpickler._text_number,
    b"L": Unpickler._text_long,
    b"F": Unpickler._text_float,
    b"S": Unpickler._text_bytes,
    b"V": Unpickler._text_unicode,
    b"p": Unpickler._text_put,
    b"g": Unpickler._text_get,
}
