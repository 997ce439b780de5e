# SPDX-License-Identifier: Apache-2.0
"""What a folder of results already holds: the file progress.jsonl.

Its first line states the model and the options of all results in the folder.
A line follows for each image whose results are about to be written, and one
when they are written whole, with what panoptic.json says of the image. So a
prediction that was killed goes on where it was, and no file is replaced that
the program did not write itself.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

from deeplab2_like import errors
from deeplab2_like.console import version
from deeplab2_like.storage import file_locks, json_files
from deeplab2_like.storage.file_identity import Source

__all__ = ["FILE", "FORMAT", "Journal", "Source"]

FILE = "progress.jsonl"
FORMAT = 1
_FIX = (
    "Give another --out. Or give --overwrite: then all is predicted again, and "
    "files of the same names are replaced."
)


class Journal:
    """The results of a folder, by the names of the images.

    Attributes:
        folder: Folder of the results.
        existed: Whether the folder had a journal of this model and options.
        is_refused: Whether another program writes or has written the results.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        model: Mapping[str, Any],
        options: Mapping[str, Any],
        *,
        derived: Sequence[str] = (),
        overwrite: bool = False,
    ):
        """Reads the journal of a folder, if it has one; writes nothing.

        Args:
            folder: Folder of the results.
            model: The model: "path", for messages, and "fingerprint".
            options: Options that decide about the results.
            derived: Names of files in the folder that are made of the journal;
                without a journal they are somebody else's.
            overwrite: Whether earlier results are forgotten and their files
                replaced.

        Raises:
            DataError: The folder has results of another model, of other
                options or of another program.
        """
        self.folder = pathlib.Path(folder)
        self.existed = self.is_refused = False
        self._path = self.folder / FILE
        self._header = {
            "format": FORMAT,
            "model": dict(model),
            "options": json.loads(json_files.to_line(options)),
            "version": version.VERSION,
            "replaces_files": overwrite,
        }
        self._end = 0
        # Bytes of the file as it is known; None: it is replaced anyway.
        self._size = None if overwrite else 0
        self._offsets: dict[str, int] = {}
        self._begun: set[str] = set()
        self._file: IO[bytes] | None = None
        self._reader: IO[bytes] | None = None
        if overwrite:
            return
        if self._path.exists():
            self._load()
            self.existed = bool(self._end)
        if not self.existed:
            self._refuse_existing(self.folder / name for name in derived)

    def _load(self) -> None:
        """Reads where the entries are; a last line without end is cut off."""
        with self._path.open("rb") as file:
            self._size = os.fstat(file.fileno()).st_size
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                try:
                    self._index(number, json.loads(line))
                except (ValueError, KeyError, TypeError) as error:
                    if isinstance(error, errors.UserError):
                        raise
                    raise errors.DataError(
                        f"Line {number} of {self._path} is damaged. {_FIX}"
                    ) from error
                self._end += len(line)

    def _index(self, number: int, entry: Any) -> None:
        if number == 1:
            self._check_header(entry)
        elif "begun" in entry:
            self._begun.add(entry["begun"])
        else:
            Source(*entry["source"])
            self._offsets[str(entry["name"])] = self._end
            self._begun.discard(entry["name"])

    def _check_header(self, found: Any) -> None:
        where = f"The folder {self.folder} holds results"
        if found["format"] > FORMAT:
            raise errors.DataError(
                f"{where} of a newer version of deeplab2_like "
                f"({found['version']}). Update this one, or give another --out."
            )
        model, earlier = self._header["model"], found["model"]
        if earlier["fingerprint"] != model["fingerprint"]:
            of = f"of another model ({earlier['path']}, not {model['path']})"
            if earlier["path"] == model["path"]:
                of = f"of {model['path']} before that model changed"
            raise errors.DataError(f"{where} {of}. {_FIX}")
        options = self._header["options"]
        # Options that are not stated are not chosen.
        for name in dict.fromkeys([*found["options"], *options]):
            value = options.get(name, False)
            other = found["options"].get(name, False)
            if value != other:
                raise errors.DataError(
                    f"{where} of --{name}={other}, and now it is {value}. "
                    f"Predict with the same options, or: {_FIX}"
                )
        self._header["replaces_files"] = found["replaces_files"]

    def find(self, name: str, source: Source) -> bool:
        """Returns whether the results of an image are there, whole.

        Results that were begun again and not completed since are not: some of
        their files may be new and others old.

        Args:
            name: Name of the image's results.
            source: The image.

        Raises:
            DataError: Other results have this name, or a file of the results
                was changed since.
        """
        if name not in self._offsets:
            return False
        entry = self.read(name)
        earlier = Source(*entry["source"])
        if earlier != source:
            if (earlier.path, earlier.part) != (source.path, source.part):
                raise errors.DataError(
                    f"The results {name!r} in {self.folder} are those of "
                    f"{earlier.path}, and those of {source.path} would replace "
                    f"them. {_FIX}"
                )
            return False  # The image has changed: it is predicted again.
        if name in self._begun:
            return False
        for relative, size in entry["files"].items():
            path = self.folder / relative
            found = path.stat().st_size if path.exists() else 0
            if not found:
                return False
            if found != size:
                raise errors.DataError(
                    f"{path} was changed since it was written ({size} bytes "
                    f"then, {found} now). Move it away, and it is written "
                    f"again. {_FIX}"
                )
        return True

    def require_free(self, name: str, files: Iterable[str]) -> None:
        """Checks that no file of somebody else would be replaced.

        Args:
            name: Name of the image's results.
            files: Paths of the results below the folder.

        Raises:
            DataError: There is a file that is not in the journal.
        """
        is_own = name in self._offsets or name in self._begun
        if not is_own and not self._header["replaces_files"]:
            self._refuse_existing(self.folder / file for file in files)

    def _refuse_existing(self, paths: Iterable[pathlib.Path]) -> None:
        for path in paths:
            if path.exists():
                raise errors.DataError(
                    f"{path} exists, and {self._path} does not list it as a "
                    f"result of this program. {_FIX}"
                )

    def begin(self, name: str) -> None:
        """Notes that the results of an image are about to be written."""
        if name not in self._begun:
            self._append({"begun": name})
            self._begun.add(name)

    def complete(
        self,
        name: str,
        source: Source,
        files: Iterable[str],
        facts: Mapping[str, Any],
    ) -> None:
        """Notes that the results of an image are written whole.

        Args:
            name: Name of the image's results.
            source: The image.
            files: Paths of the results below the folder.
            facts: What `read` returns besides.
        """
        sizes = {name: (self.folder / name).stat().st_size for name in files}
        entry = {
            "name": name,
            "source": dataclasses.astuple(source),
            "files": sizes,
            **facts,
        }
        self._offsets[name] = self._append(entry)
        self._begun.discard(name)

    def read(self, name: str) -> dict[str, Any]:
        """Returns the entry of an image whose results are written."""
        if self._reader is None:
            self._reader = self._path.open("rb")
        self._reader.seek(self._offsets[name])
        entry: dict[str, Any] = json.loads(self._reader.readline())
        return entry

    def list_below(self, beginning: str) -> Iterator[str]:
        """Yields the names that begin so, in the order of writing."""
        for name in self._offsets:
            if name.startswith(beginning):
                yield name

    def _append(self, entry: Mapping[str, Any]) -> int:
        """Appends a line, at once on the disk; returns where it begins."""
        if self._file is None:
            self._file = self._open()
        data = json_files.to_line(entry).encode() + b"\n"
        start = self._end
        self._file.write(data)
        self._size = self._end = start + len(data)
        return start

    def _open(self) -> IO[bytes]:
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        file = os.fdopen(descriptor, "r+b", buffering=0)
        problem = ""
        if not file_locks.take(file):
            problem = (
                f"Another program is writing results to {self.folder}. Wait "
                "for it, or give another --out."
            )
        elif self._size not in (None, os.fstat(descriptor).st_size):
            problem = (
                f"Another program has written results to {self.folder} since "
                "this one began. Give the same command again."
            )
        if problem:
            file.close()
            self.is_refused = True
            # Of no single image, which would be left out.
            raise errors.ConfigError(problem)
        file.truncate(self._end)
        file.seek(self._end)
        if not self._end:
            line = json_files.to_line(self._header).encode() + b"\n"
            file.write(line)
            self._end = len(line)
        return file

    def close(self) -> None:
        """Closes the file."""
        for file in (self._file, self._reader):
            if file is not None:
                file.close()
        self._file = self._reader = None
