# SPDX-License-Identifier: Apache-2.0
"""Golden data: its cases, comparisons with them, and their scores.

The golden data are inputs and outputs of other systems, one folder per family
(`postprocess/`, `losses/`, ...), one file or sub-folder per case. They are
outside of this project, in the folder that `DEEPLAB2_LIKE_REFERENCE` names.

A case is *compared in full* when each of its arrays was an input, was compared,
or was declared to be information only; anything else is an error, so that new
arrays in a file are not missed.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterable

import numpy as np

FOLDER_VARIABLE = "DEEPLAB2_LIKE_REFERENCE"

# Pattern of the cases in each family's folder. The run of all reference tests
# fails when a case of one of these families is not compared in full.
FAMILIES = {
    "postprocess": "*.npz",
    "targets": "*.npz",
    "losses": "*.npz",
    "metrics": "*.npz",
    "schedules": "*.json",
    "forward": "*.npz",
    "training": "*.npz",
    "deeplab2_checkpoints": "*.json",
    "metrics_coco_panoptic": "*/expected.json",
    "roi_align": "*.npz",
    "panoptic_fpn": "*.npz",
    "efficientps": "*.npz",
    "solov2": "*.npz",
    "weights": "outputs/*.npz",
}


def default_folder() -> pathlib.Path:
    """Returns the folder that is used if the variable is not set."""
    checkout = pathlib.Path(__file__).resolve().parents[2]
    return checkout.parent / "shared" / "reference"


def folder() -> pathlib.Path:
    """Returns the folder with the golden data; it may be absent."""
    named = os.environ.get(FOLDER_VARIABLE)
    return pathlib.Path(named) if named else default_folder()


def find_cases(family: str, pattern: str | None = None) -> list[pathlib.Path]:
    """Lists the cases of a family in order; none if its folder is absent."""
    pattern = pattern or FAMILIES[family]
    return sorted((folder() / family).glob(pattern))


def find_support_file(relative: str) -> pathlib.Path:
    """Finds a file that cases refer to, in the given or the default folder.

    Raises:
        FileNotFoundError: The file is in neither.
    """
    for root in (folder(), default_folder()):
        if (root / relative).exists():
            return root / relative
    raise FileNotFoundError(
        f"{relative} is neither in {folder()} nor in {default_folder()}."
    )


@dataclasses.dataclass
class FamilyScore:
    """Counts and the worst error of the comparisons of one family.

    Attributes:
        files: Names of the cases that were opened.
        complete_files: Names of those that were compared in full.
        arrays: Number of arrays that were compared.
        worst_ratio: Largest error in units of its tolerance.
        worst_place: Case and array of that error.
    """

    files: set[str] = dataclasses.field(default_factory=set)
    complete_files: set[str] = dataclasses.field(default_factory=set)
    arrays: int = 0
    worst_ratio: float = 0.0
    worst_place: str = ""


class Case:
    """One golden case; use it as a context manager.

    Attributes:
        name: Name of the file or folder.
        meta: Options with which the case was made, from its `meta` entry;
            empty if it has none.
    """

    def __init__(
        self,
        path: pathlib.Path,
        score: FamilyScore,
        entries: Iterable[str] | None = None,
    ):
        """Opens a case.

        Args:
            path: An `.npz` file, or any file if `entries` are given.
            score: Score of the family, which this case adds to.
            entries: Names of all entries that have to be compared, for cases
                that are not `.npz` files.
        """
        self.path = path
        is_arrays = entries is None
        self.name = (
            path.name if path.name != "expected.json" else (path.parent.name)
        )
        self._arrays = dict(np.load(path)) if is_arrays else {}
        self.meta = json.loads(str(self._arrays.pop("meta", "{}")))
        self._open = set(self._arrays if entries is None else entries)
        self._score = score
        self._failures: list[str] = []
        score.files.add(self.name)

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def names(self) -> list[str]:
        """Lists the names of all arrays."""
        return list(self._arrays)

    def input(self, name: str) -> np.ndarray:
        """Returns an array that is an input of the computation."""
        self._open.discard(name)
        return self._arrays[name]

    def information(self, name: str, reason: str) -> None:
        """Declares that an array is not compared, for a reason.

        Raises:
            ValueError: The reason is empty.
        """
        if not reason:
            raise ValueError(f"{name} is not compared: give the reason.")
        self._open.discard(name)

    def compare(
        self, name: str, actual, *, atol: float = 0.0, rtol: float = 0.0
    ) -> None:
        """Compares with the array `name`: |a - b| <= atol + rtol * |b|.

        NaN equals NaN. Without tolerances the values must be equal.
        """
        self.compare_value(
            name, actual, self._arrays[name], atol=atol, rtol=rtol
        )

    def compare_value(
        self,
        name: str,
        actual,
        expected,
        *,
        atol: float = 0.0,
        rtol: float = 0.0,
    ) -> None:
        """Compares with `expected`, counted as the entry `name`."""
        self._open.discard(name)
        actual, expected = np.asarray(actual), np.asarray(expected)
        if actual.shape != expected.shape:
            self._failures.append(
                f"{name}: shape {actual.shape}, reference {expected.shape}"
            )
            return
        ratio = _worst_ratio(actual, expected, atol, rtol)
        self._score.arrays += 1
        if ratio > self._score.worst_ratio:
            self._score.worst_ratio = ratio
            self._score.worst_place = f"{self.name}:{name}"
        if not ratio <= 1.0:
            different = int(np.sum(actual != expected))
            self._failures.append(
                f"{name}: worst error is {ratio:.3g} times the tolerance, "
                f"{different} of {expected.size} values differ"
            )

    def __enter__(self) -> "Case":
        return self

    def __exit__(self, kind, value, traceback) -> None:
        if kind is not None:
            return
        if self._open:
            self._failures.append(f"not compared: {sorted(self._open)}")
        if self._failures:
            raise AssertionError(f"{self.name}: " + "; ".join(self._failures))
        self._score.complete_files.add(self.name)


def _worst_ratio(
    actual: np.ndarray, expected: np.ndarray, atol: float, rtol: float
) -> float:
    """Returns the largest error in units of its tolerance; inf if that is 0."""
    if expected.size == 0:
        return 0.0
    if atol == 0.0 and rtol == 0.0:
        both_float = actual.dtype.kind == "f" and expected.dtype.kind == "f"
        equal = np.array_equal(actual, expected, equal_nan=both_float)
        return 0.0 if equal else np.inf
    a, b = actual.astype(np.float64), expected.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    allowed = np.where(same, 1.0, atol + rtol * np.abs(b))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(same, 0.0, np.abs(a - b) / allowed)
    ratio = np.where(np.isnan(ratio), np.inf, ratio)
    return float(ratio.max())


class Ledger:
    """The scores of all families in one test run."""

    def __init__(self):
        self.scores: dict[str, FamilyScore] = {}

    def open(
        self,
        family: str,
        path: pathlib.Path,
        entries: Iterable[str] | None = None,
    ) -> Case:
        """Opens a case and counts it for `family`."""
        score = self.scores.setdefault(family, FamilyScore())
        return Case(path, score, entries)

    def summary(self) -> list[tuple[str, bool]]:
        """Returns a line for each family, and whether it passed."""
        lines = []
        for family in dict.fromkeys([*FAMILIES, *self.scores]):
            score = self.scores.get(family, FamilyScore())
            if not (folder() / family).is_dir():
                lines.append((f"{family}: skipped, its folder is absent", True))
                continue
            found = (
                len(find_cases(family))
                if family in FAMILIES
                else len(score.files)
            )
            complete = len(score.complete_files)
            where = f" ({score.worst_place})" if score.worst_place else ""
            lines.append(
                (
                    f"{family}: {found} files found, {complete} compared in "
                    f"full, {score.arrays} arrays compared, worst error / "
                    f"tolerance {score.worst_ratio:.3g}{where}",
                    found > 0
                    and complete == found
                    and score.worst_ratio <= 1.0,
                )
            )
        return lines
