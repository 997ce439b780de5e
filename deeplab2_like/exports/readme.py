# SPDX-License-Identifier: Apache-2.0
"""The README of an exported model, which describes how to use it."""

from deeplab2_like.exports import serving_commands, signatures
from deeplab2_like.exports.exported_model import ExportInfo
from deeplab2_like.labels import descriptor as descriptor_lib

_TEXT = """\
# {name}

A TensorFlow SavedModel for {kind} segmentation, step {step} of its training.
Preprocessing and post-processing are inside.

Load it with TensorFlow alone:

```python
import numpy as np
import tensorflow as tf

model = tf.saved_model.load("path/to/this/folder")
image = np.zeros((480, 640, 3), np.uint8)  # RGB, any size
result = model.signatures["serving_default"](images=image[None])
{main_map} = result["{main_map}"][0].numpy()  # int32 [480, 640]
```

or with deeplab2_like, which also writes pictures and COCO-panoptic files:

```
deeplab2-predict --model=path/to/this/folder photo.jpg --out=results
```

## Signatures

| signature | input | |
|---|---|---|
| `serving_default` | `images` uint8 [B, H, W, 3] | RGB images of equal size |
| `encoded` | `image_bytes` string [B] | JPEG or PNG files of equal size |
{compact_row}
All images of a request{of_maps} have the same size, together at most
{max_pixels} pixels; from request to request B, H and W may differ. Files have 8
bits a channel. They are turned upright as their EXIF orientation says, as
viewers show them; their size is that of the upright image, and so is that of
the maps. Anything else ends the request with INVALID_ARGUMENT and a sentence
about what is wrong.

| output | | |
|---|---|---|
{panoptic_row}| `semantic` | int32 [B, H, W] | most probable class |
| `segment_id` | int32 [B, S] | {segment_id} |
| `segment_category` | int32 [B, S] | class |
| `segment_score` | float32 [B, S] | confidence, 0 or more |
| `segment_area` | int32 [B, S] | pixels |
| `segment_is_valid` | bool [B, S] | which of the S rows are segments |

{canvas}{jit}{weights}
{compact}{overlay}
## TensorFlow Serving

{server}
A request:

```
curl -d '{{"signature_name": "encoded", "instances": [{{"b64": "..."}}]}}' \\
  http://localhost:8501/v1/models/{name}:predict
```

## Classes of {dataset}

| class | name | kind | id in the data set |
|---|---|---|---|
{classes}
Void (no class) is {ignore_label}.

`assets.extra/` contains the data set descriptor, these classes with their
colors in pictures (`classes.json`), the config of the training run (SHA-256
{sha256})
and facts about this export.
"""

_PANOPTIC_ROW = (
    "| `panoptic` | int32 [B, H, W] | class * {divisor} + instance; void is "
    "{void} |\n"
)


_COMPACT_ROW = (
    "| `encoded_compact` | `image_bytes` string [B] | JPEG or PNG files of any "
    "sizes, see below |\n"
)
_COMPACT = """
## Small answers

The maps of a large image are megabytes, as JSON tens of them.
`encoded_compact` answers with a PNG and a table instead, for each file on its
own: one that cannot be used, or has more than {max_pixels} pixels, gets a
sentence, and the others are answered as if alone. Sizes may differ.{count}

| output | | |
|---|---|---|
| `panoptic_png_bytes` | string [B] | PNG of the size of the upright image; R + 256 G + 65536 B is the id of the segment, 0 is void |
| `num_segments` | int32 [B] | so many of the S rows are segments, the first ones; the others are 0 |
| `segment_id` | int32 [B, S] | 1 to `num_segments` |
| `segment_category_id` | int32 [B, S] | id of the class in the data set |
| `segment_isthing` | bool [B, S] | whether the segment is one object |
| `segment_score` | float32 [B, S] | confidence, 0 or more |
| `segment_area` | int32 [B, S] | pixels |
| `height`, `width` | int32 [B] | size of the upright image |
| `error` | string [B] | empty, or what is wrong with the file; then the rest is 0 or empty |
"""  # noqa: E501

_OVERLAY_ROW = (
    "| `encoded_overlay` | `image_bytes` string [B] | JPEG or PNG files of any "
    "sizes, see below |\n"
)
_OVERLAY = """
## Pictures

`encoded_overlay` answers with `overlay_png_bytes`, string [B], a PNG of the
upright image with its segments in colors, and with `error`, as above. It takes
files of any sizes too.
"""
_TWINS = """
Each signature has a twin whose name ends in `_xla`, such as
`serving_default_xla`: the same answers; its post-processing is compiled by XLA,
for which the first request of each size of canvas takes longer.
"""


def _describe_compact(info: ExportInfo) -> str:
    count = ""
    if info.fixed_sizes:
        count = f" A request has\nat most {info.max_rows} files."
    return _COMPACT.format(max_pixels=info.max_pixels, count=count)


def _describe_canvas(info: ExportInfo) -> str:
    if not info.fixed_sizes:
        return "Each image is padded to a canvas of its own size."
    listed = [f"{height} x {width}" for height, width in info.fixed_sizes]
    if len(listed) > 1:
        return (
            f"Canvases (height x width): {', '.join(listed)}. An image is "
            "padded to the\nsmallest that holds it; larger ones are reduced, "
            "to the one on which they are\nreduced least."
        )
    height, width = info.fixed_sizes[0]
    return (
        f"Each image is padded to height {height} and width {width}; "
        "larger ones are\nreduced to fit."
    )


def _describe_compilation(info: ExportInfo) -> str:
    if any(map(signatures.is_twin, info.signatures)):
        return "\n" + _TWINS.rstrip()
    if info.jit_compile:
        return (
            "\nPost-processing is compiled by XLA: the first request of each "
            "size of\ncanvas takes longer."
        )
    return ""


def _describe_weights(info: ExportInfo) -> str:
    agreement = info.parity.get("agreement")
    if agreement is None:
        return ""
    return (
        f"\n\nKernels are stored as {info.weights}, and computed with in "
        f"float32. Of the pixels of\n{info.parity['images']} images "
        f"{agreement:.2%} are segmented as with the weights of the checkpoint."
    )


def _list_classes(descriptor: descriptor_lib.DatasetDescriptor) -> str:
    rows = []
    for class_id, class_name in enumerate(descriptor.class_names):
        kind = "thing" if descriptor.is_thing(class_id) else "stuff"
        if class_id == descriptor.ignore_label:
            kind = "void"
        category = descriptor.category_ids[class_id]
        rows.append(f"| {class_id} | {class_name} | {kind} | {category} |\n")
    return "".join(rows)


def make_readme(
    info: ExportInfo, descriptor: descriptor_lib.DatasetDescriptor
) -> str:
    """Makes the README of an exported model, in Markdown.

    Args:
        info: Facts about the model.
        descriptor: The data set of the model.
    """
    has_compact = signatures.COMPACT in info.signatures
    has_overlay = signatures.OVERLAY in info.signatures
    row = _PANOPTIC_ROW.format(
        divisor=descriptor.label_divisor, void=descriptor.void_id
    )
    return _TEXT.format(
        name=serving_commands.choose_name(info.experiment_name),
        kind="panoptic" if info.has_instances else "semantic",
        step=info.step,
        max_pixels=info.max_pixels,
        main_map="panoptic" if info.has_instances else "semantic",
        segment_id=(
            "value in `panoptic`"
            if info.has_instances
            else f"class * {descriptor.label_divisor}"
        ),
        panoptic_row=row if info.has_instances else "",
        canvas=_describe_canvas(info),
        jit=_describe_compilation(info),
        weights=_describe_weights(info),
        of_maps=" for maps" if has_compact or has_overlay else "",
        compact_row=(_COMPACT_ROW if has_compact else "")
        + (_OVERLAY_ROW if has_overlay else ""),
        compact=_describe_compact(info) if has_compact else "",
        overlay=_OVERLAY if has_overlay else "",
        server=serving_commands.describe(info),
        dataset=descriptor.name,
        classes=_list_classes(descriptor),
        ignore_label=descriptor.ignore_label,
        sha256=info.config_sha256,
    )
