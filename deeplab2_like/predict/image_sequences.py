# SPDX-License-Identifier: Apache-2.0
"""Predicts the images of folders as the frames of videos, linked.

The images of one folder are a sequence, in the natural order of their names:
frame2 comes before frame10.
"""

import collections
import dataclasses
import os
import pathlib
from collections.abc import Sequence

from deeplab2_like.predict import links, result_folder
from deeplab2_like.predict.journal import Source
from deeplab2_like.predict.running import Run
from deeplab2_like.storage import image_files, natural_order


@dataclasses.dataclass(frozen=True)
class Group:
    """The images of one folder.

    Attributes:
        folder: Absolute path of the folder.
        title: Its path below the inputs; for their top, or where that is the
            same for several folders, its name.
        name: Name of the results of the sequence; "" for the images at the top
            of a single folder.
        places: Places of the files in their list, in natural order.
    """

    folder: str
    title: str
    name: str
    places: list[int]

    @property
    def source(self) -> Source:
        """What the file of the tracks belongs to."""
        return Source(self.folder, 0, 0)


def group(
    files: Sequence[image_files.ImageFile], taken: Sequence[str] = ()
) -> list[Group]:
    """Groups image files by their folder.

    Args:
        files: The files.
        taken: Names of other results, which no folder gets.

    Returns:
        The folders, each of another name, in natural order.
    """
    folders: dict[str, list[int]] = {}
    for place, file in enumerate(files):
        folder = os.path.dirname(os.path.abspath(file.path))
        folders.setdefault(folder, []).append(place)
    parents = {}
    for folder, places in folders.items():
        places.sort(key=lambda p: natural_order.key(files[p].relative_path))
        path = pathlib.PurePosixPath(files[places[0]].relative_path)
        parent = path.parent.as_posix()
        parents[folder] = "" if parent == "." else parent
    counts = collections.Counter(parents.values())
    for folder, parent in parents.items():
        if not parent and counts[parent] > 1:
            parents[folder] = os.path.basename(folder)
    order = sorted(folders, key=lambda f: (natural_order.key(parents[f]), f))
    names = _name_uniquely([parents[folder] for folder in order], taken)
    return [
        Group(
            folder,
            parents[folder] or os.path.basename(folder),
            name,
            folders[folder],
        )
        for folder, name in zip(order, names, strict=True)
    ]


def _name_uniquely(names: Sequence[str], taken: Sequence[str]) -> list[str]:
    """Returns names of which none is used twice; "" remains."""
    # What `name_uniquely` takes off as the extension.
    paths = [f"{name}.json" for name in [*taken, *filter(None, names)]]
    found = iter(image_files.name_uniquely(paths)[len(taken) :])
    return [next(found) if name else name for name in names]


def add_all(
    files: Sequence[image_files.ImageFile],
    ids: Sequence[int | str | None],
    run: Run,
    taken: Sequence[str] = (),
) -> None:
    """Predicts image files and links those of each folder.

    Args:
        files: The files.
        ids: Id of each; None where its name decides.
        run: The model, the options and the folder of results.
        taken: Names of the results of videos and stacks.

    Raises:
        DataError: Files that are not the results of the images would be
            replaced, of which nothing is written then; or a class has more
            tracks than label maps can number.
    """
    items = result_folder.to_items(files, run.load_file)
    groups = group(files, taken)
    results, done = run.results, 0
    for item in items:
        results.is_done(item)
    for found in groups:
        links.require_own(
            links.name_file(found.name), found.source, results.journal
        )
    with run.report.phase("Predicting", len(items), unit="images") as phase:
        for found in groups:
            with links.Links(
                found.name, found.title, run, source=found.source
            ) as linked:
                for number, place in enumerate(found.places):
                    _add(items[place], ids[place], number, linked, run)
                    done += 1
                    phase.advance(done)


def _add(
    item: result_folder.Item,
    image_id: int | str | None,
    number: int,
    linked: links.Links,
    run: Run,
) -> None:
    try:
        linked.add(item, number)
    except links.FrameError as error:
        run.leave_out(item.source.path, str(error))
    else:
        run.results.list_image(item.name, image_id)
