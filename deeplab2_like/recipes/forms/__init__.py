# SPDX-License-Identifier: Apache-2.0
"""The forms of data sets that are understood, a module for each.

A new form is a module with a function `recognize` and its entry in `FORMS`.
"""

from deeplab2_like import errors
from deeplab2_like.recipes.forms import (
    bitmasks,
    coco_instances,
    coco_panoptic,
    cvat,
    label_images,
    labelme,
    yolo,
)
from deeplab2_like.recipes.forms.reading import Reading
from deeplab2_like.recipes.forms.source import Example, Form, Request, Source
from deeplab2_like.recipes.forms.tree import Tree

__all__ = [
    "FORMS",
    "Example",
    "Form",
    "Reading",
    "Request",
    "Source",
    "find_source",
]

# Where several forms recognize a folder, the first one reads it.
FORMS: tuple[Form, ...] = (
    Form(
        "coco-panoptic",
        "COCO-panoptic",
        "images, PNGs of segment ids, and one JSON file for all or for each "
        "split (`segments_info`)",
        coco_panoptic.recognize,
    ),
    Form(
        "coco-instances",
        "COCO instances",
        "images, and one JSON file for all or for each split with polygons or "
        "run lengths (`segmentation`)",
        coco_instances.recognize,
    ),
    Form(
        "labelme",
        "LabelMe",
        "images, and a JSON file with `shapes` for each",
        labelme.recognize,
    ),
    Form(
        "yolo",
        "YOLO segmentation",
        "data.yaml with `names`, images/ and labels/ with a text file for each "
        "image",
        yolo.recognize,
    ),
    Form(
        "cvat",
        "CVAT segmentation masks",
        "labelmap.txt, SegmentationClass/, SegmentationObject/ and the images "
        "in JPEGImages/",
        cvat.recognize,
    ),
    Form(
        "bitmasks",
        "RGBA bitmasks",
        "images, and PNGs of four channels as BDD100K has them: class, "
        "attributes, and two bytes of the object",
        bitmasks.recognize,
    ),
    Form(
        "label-images",
        "label images",
        "images beside PNGs of classes, of instances, or of both, in folders "
        "such as images/, labels/, instances/ or with names such as a.jpg, "
        "a_label.png, a_instance.png",
        label_images.recognize,
    ),
)


def find_source(request: Request, forms: tuple[Form, ...] = FORMS) -> Source:
    """Finds out in which form data are.

    Args:
        request: The path and what the user said about it.
        forms: The forms to try.

    Raises:
        errors.DataError: The path does not exist, or is of no form that is
            understood; the text says what was found.
    """
    if not request.data.exists():
        raise errors.DataError(
            f"{request.data} does not exist. Give the folder of your images "
            "and labels."
        )
    tree = Tree.look(request.root)
    if request.form:
        forms = tuple(form for form in forms if form.key == request.form)
    for form in forms:
        source = form.recognize(tree, request)
        if source is not None:
            return source
    few = "of the form that is asked for" if request.form else "understood"
    understood = "; ".join(f"{form.name} ({form.content})" for form in forms)
    found = tree.describe()
    if request.data.is_file():
        found = "a file of another kind"
    raise errors.DataError(
        f"{request.data} holds {found}, which is no data set in a form that is "
        f"{few}: {understood}. Convert it, or give the right folder."
    )
