# SPDX-License-Identifier: Apache-2.0
"""Reads names and headers of images and label images, without pixels."""

import contextlib
from collections.abc import Iterator

from PIL import Image

from deeplab2_like import errors
from deeplab2_like.data.inspection import facts as facts_lib
from deeplab2_like.data.inspection.facts import ImageFacts
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.labels import json_values
from deeplab2_like.recipes import forms
from deeplab2_like.recipes.forms import pairing, places
from deeplab2_like.recipes.forms.source import TRAIN, VAL, Example
from deeplab2_like.recipes.forms.tree import Tree
from deeplab2_like.storage import image_decoding, image_files

# Forms whose classes are found in the pixels of label images.
_LABEL_IMAGES = ("cvat", "bitmasks", "label-images")
# Stands for classes that are not known without pixels.
NO_CLASSES = descriptor_lib.make(["unknown"], [], name="unknown")


def has_label_images(request: forms.Request) -> bool:
    """Returns whether data are of a form that is known by its pixels only.

    Args:
        request: Where the data are.
    """
    if request.form:
        return request.form in _LABEL_IMAGES
    if not request.data.is_dir():
        return False
    others = [form for form in forms.FORMS if form.key not in _LABEL_IMAGES]
    tree = Tree.look(request.root)
    return all(form.recognize(tree, request) is None for form in others)


def list_pairs(request: forms.Request) -> tuple[list[Example], list[str]]:
    """Pairs images with label images by their names.

    Args:
        request: Where the data are.

    Returns:
        The images with labels, and sentences that the user should know.

    Raises:
        errors.DataError: No image has a label image, or a pair is not clear.
    """
    tree = Tree.look(request.root)
    examples, bare, lone = [], [], []
    for one in pairing.pair(tree, request):
        image = one.paths.get(pairing.IMAGE)
        labels = [p for r, p in one.paths.items() if r != pairing.IMAGE]
        if image is None:
            lone += [str(path) for path in labels]
        elif not labels:
            bare.append(str(image))
        elif one.split != places.TEST:
            examples.append(
                Example(
                    one.name,
                    one.split,
                    frozenset(),
                    _refuse_to_load,
                    str(image),
                    str(labels[0]),
                )
            )
    if not examples:
        # It raises the sentence that says what was found instead.
        forms.find_source(request)
        raise errors.DataError(f"{request.data} has no image with a label.")
    if {one.split for one in examples} != {TRAIN, VAL}:
        examples = [
            Example(
                one.name, "", frozenset(), one.load, one.path, one.label_path
            )
            for one in examples
        ]
    remarks = [
        f"Warning: {len(paths)} {what} of their name: "
        f"{json_values.summarize(paths)}."
        for what, paths in (
            ("images have no label image", bare),
            ("label images have no image", lone),
        )
        if paths
    ]
    return examples, remarks


def _refuse_to_load():
    raise ValueError("Only the header of the image is read.")


def measure(example: Example) -> ImageFacts:
    """Reads the header of an image and of its label image, if it has one.

    Args:
        example: The image.

    Raises:
        errors.DataError: The image is none, or its label has another size.
    """
    if not example.path:
        sample = example.load()
        return ImageFacts(
            sample.size, facts_lib.compute_digest(sample.image, "file")
        )
    try:
        content = image_files.read_file(example.path)
        image = image_decoding.open_image(content, f"Image {example.name!r}")
    except errors.DataError as error:
        raise errors.DataError(
            f"{error} The file is {example.path}."
        ) from error
    if example.label_path:
        size = _read_size(example.label_path)
        if size not in (image.size, image.stored_size):
            height, width = image.size
            raise errors.DataError(
                f"Image {example.name!r} has different sizes (height x width): "
                f"the image {height}x{width}, the label {size[0]}x{size[1]} "
                f"({example.label_path}). They must be equal."
            )
    return ImageFacts(
        image.size,
        facts_lib.compute_digest(content, "file"),
        note=image.note,
        is_turned=image.orientation != 1,
    )


def _read_size(path: str) -> tuple[int, int]:
    """Returns the (height, width) in the header of a label image."""
    with _describe_damage(path), Image.open(path) as label:
        return label.height, label.width


@contextlib.contextmanager
def _describe_damage(path: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Decoders raise a dozen kinds.
        raise errors.DataError(
            f"The label {path} cannot be read: it is missing, damaged, or no "
            "image. Write it again."
        ) from error
