# SPDX-License-Identifier: Apache-2.0
"""COCO's panoptic format: a PNG an image and one JSON file.

A pixel's segment id is R + 256 * G + 65536 * B, 0 is void. The JSON file lists
the segments of each image with their categories
(https://cocodataset.org/#format-data, "Panoptic Segmentation"). Reading:
`load_segment_ids` and `load_annotations`. Writing: `CocoPanopticWriter`.
"""

import dataclasses
import json
import os
import pathlib
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from deeplab2_like import errors
from deeplab2_like.labels import palette

if TYPE_CHECKING:
    from deeplab2_like.labels.descriptor import DatasetDescriptor
    from deeplab2_like.results.panoptic_result import PanopticResult

# Ids have three bytes.
MAX_ID = 2**24 - 1


def encode_ids(ids_hw: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Encodes segment ids as colours: uint8 [H, W, 3].

    Args:
        ids_hw: Integers [H, W] in 0..2**24-1.

    Raises:
        DataError: An id needs more than three bytes or is negative.
    """
    ids_hw = np.asarray(ids_hw)
    if ids_hw.size and not 0 <= ids_hw.min() <= ids_hw.max() <= MAX_ID:
        raise errors.DataError(
            f"Segment ids {ids_hw.min()}..{ids_hw.max()} do not fit into a "
            f"COCO-panoptic PNG. Ids are 0..{MAX_ID}: number the segments anew."
        )
    bytes_hwn = np.ascontiguousarray(ids_hw, "<u4").view(np.uint8)
    return bytes_hwn.reshape(*ids_hw.shape, 4)[..., :3].copy()


def decode_ids(rgb_hw3: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """Decodes the colours of a panoptic PNG into segment ids: int32 [H, W].

    Args:
        rgb_hw3: uint8 [H, W, 3].
    """
    height, width, _ = rgb_hw3.shape
    bytes_hw4 = np.zeros((height, width, 4), np.uint8)
    bytes_hw4[..., :3] = rgb_hw3
    return bytes_hw4.view("<i4").reshape(height, width)


def load_segment_ids(path: str | os.PathLike[str]) -> npt.NDArray[np.int32]:
    """Loads the segment ids of a panoptic PNG: int32 [H, W], 0 is void.

    Raises:
        DataError: The file is missing, damaged, or no RGB picture.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in ("RGB", "RGBA"):
                raise errors.DataError(
                    f"{path} has the pixel format {image.mode}. A "
                    "COCO-panoptic PNG is RGB, segment id = R + 256 * G + "
                    "65536 * B: this looks like another kind of label."
                )
            # Pillow's fourth byte is not part of the id.
            four_bytes = image.convert("RGB").tobytes("raw", "RGBX")
            ids = np.frombuffer(four_bytes, "<i4") & MAX_ID
            return ids.reshape(image.height, image.width)
    except FileNotFoundError as error:
        raise errors.DataError(
            f"{path} does not exist. The JSON file names it: check the folder "
            "of the panoptic PNGs."
        ) from error
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise errors.DataError(
            f"{path} cannot be read as a picture ({error}). Write or download "
            "it again."
        ) from error


@dataclasses.dataclass(frozen=True)
class CocoAnnotations:
    """The content of a COCO-panoptic JSON file.

    Attributes:
        path: The file.
        images: Entry of each image by image id; empty when the file has none.
        annotations: Entry of each annotated image by image id, in file order.
        categories: Entry of each category by category id, in file order;
            empty when the file has none (files of predictions).
    """

    path: pathlib.Path
    images: dict[int | str, dict[str, Any]]
    annotations: dict[int | str, dict[str, Any]]
    categories: dict[int, dict[str, Any]]


def load_annotations(path: str | os.PathLike[str]) -> CocoAnnotations:
    """Loads a COCO-panoptic JSON file, of a ground truth or of predictions.

    Raises:
        DataError: The file is missing, is not JSON, is JSON of another kind,
            or lists an image twice.
    """
    path = pathlib.Path(path)
    content = _load_json(path)
    if not isinstance(content, dict) or not isinstance(
        content.get("annotations"), list
    ):
        raise errors.DataError(
            f"{path} has no list `annotations`. A COCO-panoptic file is an "
            "object with `annotations` and, for a ground truth, `images` and "
            "`categories`."
        )
    annotations: dict[int | str, dict[str, Any]] = {}
    for number, annotation in enumerate(content["annotations"]):
        _check_annotation(path, number, annotation)
        image_id = annotation["image_id"]
        if image_id in annotations:
            raise errors.DataError(
                f"{path} annotates image {image_id} twice. Each image has one "
                "entry with all of its segments: remove one of them."
            )
        annotations[image_id] = annotation
    return CocoAnnotations(
        path,
        {image["id"]: image for image in content.get("images", [])},
        annotations,
        {entry["id"]: entry for entry in content.get("categories", [])},
    )


def _load_json(path: pathlib.Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise errors.DataError(
            f"{path} does not exist. Give the COCO-panoptic JSON file."
        ) from error
    except UnicodeDecodeError as error:
        raise errors.DataError(
            f"{path} is not a text file. Give the COCO-panoptic JSON file."
        ) from error
    except json.JSONDecodeError as error:
        raise errors.DataError(
            f"{path}:{error.lineno}:{error.colno}: not JSON ({error.msg}). "
            "Write or download the file again."
        ) from error


def _check_annotation(
    path: pathlib.Path, number: int, annotation: dict[str, Any]
) -> None:
    keys = ("image_id", "file_name", "segments_info")
    missing = [key for key in keys if key not in annotation]
    if not missing:
        return
    if "segmentation" in annotation or "bbox" in annotation:
        raise errors.DataError(
            f"{path} is COCO *instances* JSON (annotations[{number}] has one "
            "object). Panoptic files have one annotation an image, with "
            "`segments_info`: take the panoptic_*.json of the data set."
        )
    raise errors.DataError(
        f"{path}: annotations[{number}] lacks {', '.join(missing)}. Each "
        f"annotation of a COCO-panoptic file has {', '.join(keys)}."
    )


class CocoPanopticWriter:
    """Writes results as COCO-panoptic PNGs and one JSON file.

    Each PNG is written when its result is added and each annotation goes to
    disk at once, so that any number of images can be written. The JSON file
    appears, complete, when the writer is closed; a `with` block that ends by
    an error leaves no JSON file.

        with CocoPanopticWriter("out/pred", descriptor) as writer:
            writer.add(result, "000000142238.jpg", image_id=142238)
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        descriptor: "DatasetDescriptor",
        *,
        json_path: str | os.PathLike[str] | None = None,
        compress_level: int = 3,
    ):
        """Creates the folder and begins the JSON file.

        Args:
            folder: Where the PNGs go; created when it does not exist.
            descriptor: The data set, for the list of categories.
            json_path: The JSON file; `<folder>.json` when None, where
                panopticapi looks for it.
            compress_level: Of the PNGs, 0 (fast) to 9 (small).
        """
        self.folder = pathlib.Path(folder)
        self.json_path = pathlib.Path(json_path or f"{self.folder}.json")
        self._descriptor = descriptor
        self._compress_level = compress_level
        self._images: dict[int | str, dict[str, Any]] = {}
        self._names: set[str] = set()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.json_path.parent.mkdir(parents=True, exist_ok=True)
        self._partial = self.json_path.with_name(
            f"{self.json_path.name}.partial"
        )
        self._file: TextIO = self._partial.open("w", encoding="utf-8")
        self._file.write('{"annotations": [')

    def add(
        self,
        result: "PanopticResult",
        image_name: str,
        image_id: int | str | None = None,
        *,
        png_name: str | None = None,
    ) -> pathlib.Path:
        """Writes the result of one image.

        Args:
            result: The result at the size of the image.
            image_name: File name of the image.
            image_id: Id of the image in the data set; its stem when None.
            png_name: Path of the PNG below the folder; when given,
                `image_name` may be a path as well. When None, the PNG has the
                stem of the image.

        Returns:
            The PNG.

        Raises:
            DataError: An image of this id or stem was already written.
        """
        stem = pathlib.PurePath(image_name).stem
        image_id = stem if image_id is None else image_id
        if png_name is None:
            image_name = pathlib.PurePath(image_name).name
            png_name = f"{stem}.png"
        if png_name in self._names or image_id in self._images:
            raise errors.DataError(
                f"Image {image_name} (id {image_id}) was already written to "
                f"{self.folder}. Ids and file names without extension must "
                "differ: write the images into separate folders."
            )
        path = self.folder / png_name
        path.parent.mkdir(parents=True, exist_ok=True)
        rgb_hw3, annotation = result.to_coco(png_name, image_id)
        Image.fromarray(rgb_hw3).save(path, compress_level=self._compress_level)
        self._file.write(",\n" if self._images else "\n")
        self._file.write(json.dumps(annotation))
        self._names.add(png_name)
        self._images[image_id] = {
            "id": image_id,
            "file_name": image_name,
            "height": result.height,
            "width": result.width,
        }
        return path

    def close(self) -> pathlib.Path:
        """Completes the JSON file and gives its path."""
        if not self._file.closed:
            self._file.write('\n], "images": ')
            json.dump(list(self._images.values()), self._file)
            self._file.write(',\n"categories": ')
            json.dump(make_categories(self._descriptor), self._file)
            self._file.write("}\n")
            self._file.close()
            os.replace(self._partial, self.json_path)
        return self.json_path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._file.close()
            self._partial.unlink(missing_ok=True)


def make_categories(descriptor: "DatasetDescriptor") -> list[dict[str, Any]]:
    """Makes the list `categories` of a data set's COCO-panoptic file."""
    colors = palette.choose_class_colors(descriptor)
    categories = []
    for class_id in range(descriptor.num_classes):
        if class_id == descriptor.ignore_label:
            continue
        entry = {
            "id": int(descriptor.category_ids[class_id]),
            "name": descriptor.class_names[class_id],
            "isthing": int(descriptor.is_thing(class_id)),
            "color": colors[class_id].tolist(),
        }
        categories.append(entry)
    return categories
