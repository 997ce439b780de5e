# SPDX-License-Identifier: Apache-2.0
"""What every published data set offers: splits, and the images of each."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

from deeplab2_like.data.coco.samples import Sample
from deeplab2_like.labels.descriptor import DatasetDescriptor

# Forms of labels, as `--from` of deeplab2-prepare names them.
PANOPTIC_JSON, LABEL_IMAGES = "coco-panoptic", "label-images"
BITMASKS = "bitmasks"


@dataclasses.dataclass(frozen=True)
class Item:
    """An image with its label, not loaded yet.

    Attributes:
        name: `image/filename` of its record.
        load: Function that loads it, which another process can call; it
            raises `errors.DataError` where it cannot be used.
        inputs: Paths of the files that the result depends on.
        sequence: The video that it is a frame of; "" for single images.
    """

    name: str
    load: Callable[[], Sample]
    inputs: tuple[str, ...]
    sequence: str = ""


@dataclasses.dataclass(frozen=True)
class Listing:
    """What is asked of a data set: the images of a split.

    Attributes:
        root: Folder of the data set.
        split: Name of the split.
        descriptor: The classes.
        treat_crowd_as_ignore: Whether crowds become void.
        warn: Function that is called with sentences about what is left out.
    """

    root: pathlib.Path
    split: str
    descriptor: DatasetDescriptor
    treat_crowd_as_ignore: bool
    warn: Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Split:
    """A split of a data set.

    Attributes:
        name: Names of record files begin with it.
        num_images: Images of the published split; 0 where that is not known.
        has_labels: Whether there are labels; if not, records have none.
        is_default: Whether it is written where the user names no split.
    """

    name: str
    num_images: int
    has_labels: bool = True
    is_default: bool = True


@dataclasses.dataclass(frozen=True)
class PublishedSet:
    """A published data set.

    Attributes:
        key: Its name on command lines.
        title: Its name, for the user.
        splits: Its splits.
        ways: Function that lists the images of a split, by the form of the
            labels. The first one whose files are there is taken.
        is_there: Function from root and split to whether the labels are there,
            by the form of the labels.
        num_shards: Files for each split that has labels or not, as deeplab2
            writes them where it has the data set.
        dataset: Name of the shipped descriptor; "" where `describe` makes one.
        describe: Function from the root to the text of the descriptor, for a
            data set whose classes are in its own files.
    """

    key: str
    title: str
    splits: Sequence[Split]
    ways: Mapping[str, Callable[[Listing], list[Item]]]
    is_there: Mapping[str, Callable[[pathlib.Path, str], bool]]
    num_shards: int
    dataset: str = ""
    describe: Callable[[pathlib.Path], str] | None = None


@dataclasses.dataclass(frozen=True)
class Request:
    """What the user asked for.

    Attributes:
        key: `PublishedSet.key`.
        root: Folder of the data set.
        out: Folder of the records; None to look only.
        splits: Names of splits; () for those with labels.
        form: Form of the labels, a key of `PublishedSet.ways`; "" for the
            first one that is there.
        num_shards: Files for each split; 0 for as many as deeplab2 writes.
        treat_crowd_as_ignore: Whether crowds become void.
        overwrite: Whether older records of the splits are replaced.
    """

    key: str
    root: pathlib.Path
    out: pathlib.Path | None = None
    splits: Sequence[str] = ()
    form: str = ""
    num_shards: int = 0
    treat_crowd_as_ignore: bool = False
    overwrite: bool = False
