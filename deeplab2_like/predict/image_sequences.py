# SPDX-License-Identifier: Apache-2.0
"""Predicts the images of folders as the frames of videos, linked.

The images of one folder are a sequence, in the natural order of their names:
frame2 comes before frame10.
"""

import os
import pathlib
from collections.abc import Sequence

from deeplab2_like import errors
from deeplab2_like.predict import journal as journal_lib
from deeplab2_like.predict import links, result_folder
from deeplab2_like.predict.running import Run
from deeplab2_like.storage import image_files, natural_order


def group(
    files: Sequence[image_files.ImageFile],
) -> dict[str, list[int]]:
    """Groups image files by their folder.

    Args:
        files: The files.

    Returns:
        For each folder, by its path below the inputs ("" for their top), the
        places of its files in `files`, in natural order; folders in natural
        order too.
    """
    folders: dict[str, list[int]] = {}
    for place, file in enumerate(files):
        parent = pathlib.PurePosixPath(file.relative_path).parent.as_posix()
        folders.setdefault("" if parent == "." else parent, []).append(place)
    for places in folders.values():
        places.sort(key=lambda p: natural_order.key(files[p].relative_path))
    return {
        name: folders[name] for name in sorted(folders, key=natural_order.key)
    }


def add_all(
    files: Sequence[image_files.ImageFile],
    ids: Sequence[int | str | None],
    run: Run,
) -> None:
    """Predicts image files and links those of each folder.

    Args:
        files: The files.
        ids: Id of each; None where its name decides.
        run: The model, the options and the folder of results.
    """
    items = result_folder.to_items(files, run.load_file)
    done = 0
    with run.report.phase("Predicting", len(items), unit="images") as phase:
        for name, places in group(files).items():
            folder = os.path.dirname(os.path.abspath(files[places[0]].path))
            title = name or os.path.basename(folder)
            with links.Links(name, title, run) as linked:
                for number, place in enumerate(places):
                    _add(items[place], ids[place], number, linked, run)
                    done += 1
                    phase.advance(done)
            if run.results.tracks[-1:] == [linked.file]:
                run.results.journal.complete(
                    linked.file,
                    journal_lib.Source(folder, 0, 0),
                    [linked.file],
                    {},
                )


def _add(
    item: result_folder.Item,
    image_id: int | str | None,
    number: int,
    linked: links.Links,
    run: Run,
) -> None:
    try:
        linked.add(item, number)
        run.results.list_image(item.name, image_id)
    except errors.DataError as error:
        linked.skip()
        run.leave_out(item.source.path, str(error))
