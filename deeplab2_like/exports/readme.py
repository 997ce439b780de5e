# SPDX-License-Identifier: Apache-2.0
"""The README of an exported model, which describes how to use it."""

import math

from deeplab2_like.exports import xla_off
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
| `segment_score` | float32 [B, S] | 0..1 |
| `segment_area` | int32 [B, S] | pixels |
| `segment_is_valid` | bool [B, S] | which of the S rows are segments |

{canvas}{jit}
{compact}
## TensorFlow Serving

Copy this folder to `models/{name}/1` and serve `models/{name}`.{server}
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

`assets.extra/` contains the data set descriptor, the config of the training run
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
| `segment_score` | float32 [B, S] | 0..1 |
| `segment_area` | int32 [B, S] | pixels |
| `height`, `width` | int32 [B] | size of the upright image |
| `error` | string [B] | empty, or what is wrong with the file; then the rest is 0 or empty |
"""  # noqa: E501

_COMPILED = """ Because the
model is compiled by XLA, which the server switches off, it answers with an
error unless the server is started with a flag, on a GPU with
`{gpu}`:

```
tensorflow_model_server --rest_api_port=8501 --model_name={name} \\
  --model_base_path=/models/{name} {flag}
```
"""


def choose_name(experiment_name: str) -> str:
    """Returns the name of a model, from that of the experiment."""
    if not experiment_name or "$" in experiment_name:
        return "model"  # A placeholder that was not filled.
    return experiment_name


def _describe_compact(info: ExportInfo) -> str:
    count = ""
    if info.canvas_size is not None:
        limit = max(1, info.max_pixels // math.prod(info.canvas_size))
        count = f" A request has\nat most {limit} files."
    return _COMPACT.format(max_pixels=info.max_pixels, count=count)


def make_readme(
    info: ExportInfo,
    descriptor: descriptor_lib.DatasetDescriptor,
    *,
    has_compact: bool,
) -> str:
    """Makes the README of an exported model, in Markdown.

    Args:
        info: Facts about the model.
        descriptor: The data set of the model.
        has_compact: Whether the model has the compact signature.
    """
    rows = []
    for class_id, class_name in enumerate(descriptor.class_names):
        kind = "thing" if descriptor.is_thing(class_id) else "stuff"
        if class_id == descriptor.ignore_label:
            kind = "void"
        category = descriptor.category_ids[class_id]
        rows.append(f"| {class_id} | {class_name} | {kind} | {category} |\n")
    if info.canvas_size is None:
        canvas = "Each image is padded to a canvas of its own size."
    else:
        height, width = info.canvas_size
        canvas = (
            f"Each image is padded to height {height} and width {width}; "
            "larger ones are\nreduced to fit."
        )
    name = choose_name(info.experiment_name)
    jit = server = ""
    if info.jit_compile:
        jit = (
            "\nPost-processing is compiled by XLA: the first request of each "
            "size of\ncanvas takes longer."
        )
        server = _COMPILED.format(
            name=name, flag=xla_off.SERVER_FLAG, gpu=xla_off.SERVER_FLAG_GPU
        )
    row = _PANOPTIC_ROW.format(
        divisor=descriptor.label_divisor, void=descriptor.void_id
    )
    return _TEXT.format(
        name=name,
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
        canvas=canvas,
        jit=jit,
        of_maps=" for maps" if has_compact else "",
        compact_row=_COMPACT_ROW if has_compact else "",
        compact=_describe_compact(info) if has_compact else "",
        server=server,
        dataset=descriptor.name,
        classes="".join(rows),
        ignore_label=descriptor.ignore_label,
    )
