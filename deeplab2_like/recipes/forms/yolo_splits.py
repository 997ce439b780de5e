# SPDX-License-Identifier: Apache-2.0
"""Which images of a YOLO data set are for training, and which for evaluation.

data.yaml names folders, or text files that list images; often by paths of
another machine.
"""

from deeplab2_like.recipes.forms import places
from deeplab2_like.recipes.forms.data_yaml import DataYaml
from deeplab2_like.recipes.forms.tree import Tree


class Splits:
    """Which split an image is in."""

    def __init__(self, content: DataYaml, tree: Tree):
        """Reads the places that a data.yaml names.

        Args:
            content: The data.yaml.
            tree: The files of the data.
        """
        self._present = {*tree.files}
        self._root = tree.root
        self._folders: list[tuple[str, str]] = []
        self._listed: dict[str, str] = {}
        taken: dict[str, str] = {}
        for split, entries in content.places.items():
            for place in filter(None, map(self._find_place, entries)):
                if place.lower().endswith(".txt"):
                    self._listed |= dict.fromkeys(self._read_list(place), split)
                else:
                    self._folders.append((place, split))
                if taken.setdefault(place, split) != split:
                    # As coco8.yaml, which trains on what it scores.
                    self._folders, self._listed = [], {}
                    return

    def find(self, path: str) -> str:
        """Returns the split of an image, by its path below the root."""
        if path in self._listed:
            return self._listed[path]
        fitting = [
            (len(place), split)
            for place, split in self._folders
            if f"/{place}/" in f"/{path}"
        ]
        return max(fitting)[1] if fitting else places.find_split(path)

    def _find_place(self, entry: str) -> str:
        """Returns the part of an entry that is a folder or file of the data."""
        # An absolute path may be of another machine: its end is compared.
        for end in _list_ends(entry):
            if end in self._present or any(
                f"/{end}/" in f"/{path}" for path in self._present
            ):
                return end
        return ""

    def _read_list(self, place: str) -> list[str]:
        """Reads a list of images."""
        try:
            text = (self._root / place).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError, ValueError):
            return []
        return [
            end
            for line in text.splitlines()
            for end in _list_ends(line.strip())
            if end in self._present
        ]


def _list_ends(entry: str) -> list[str]:
    """Lists the ends of a path, the longest first."""
    parts = [
        part
        for part in entry.replace("\\", "/").split("/")
        if part not in ("", ".", "..")
    ]
    return ["/".join(parts[place:]) for place in range(len(parts))]
