# SPDX-License-Identifier: Apache-2.0
"""Cells of SOLOv2 and class logits to segments."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.model.layers.upsample import upsample_bilinear
from deeplab2_like.postprocess import efficientps, options
from deeplab2_like.postprocess.masks import sampling, solov2_decoding
from deeplab2_like.postprocess.masks.pasting import TILE, TileGrid
from deeplab2_like.postprocess.objects import Cells

GRIDS = (4, 2)
CLASSES = options.ClassRules(
    num_classes=4,
    thing_ids=(1, 3),
    ignore_label=255,
    label_divisor=100,
    stuff_area_limit=40,
)
RULES = {
    "fusion_rules": options.FusionRules(score_threshold=0.3),
    "cell_rules": options.CellRules(
        grids=GRIDS, smallest_masks=(8, 16), candidates=20, max_objects=6
    ),
}


def _make_scene(size, boxes=((2, 3, 9, 10), (6, 8, 14, 18))):
    """Makes two objects, in boxes of pixels at stride 4, a cell for each."""
    shape = [(side - 1) // 4 + 1 for side in size]
    cells = sum(side * side for side in GRIDS)
    logits = np.full((1, cells, 2), -9.0, np.float32)
    kernels = np.zeros((1, cells, 2), np.float32)
    features = np.full((1, *shape, 2), -1.0, np.float32)
    for number, (y1, x1, y2, x2) in enumerate(boxes):
        cell = 5 * (1 + number)
        logits[0, cell, number] = 4.0 - number
        kernels[0, cell, number] = 8.0
        features[0, y1:y2, x1:x2, number] = 1.0
    classes = np.zeros((1, *shape, 4), np.float32)
    classes[..., 0] = 2.0
    classes[0, shape[0] // 2 :, :, 2] = 3.0
    return Cells(logits, kernels, features), classes


@functools.cache
def _make_process(size, mode):
    """Returns the function for a canvas, which is traced once."""

    def process(valid_size, classes, *cells):
        return efficientps.postprocess_cells(
            classes,
            Cells(*cells),
            canvas_size=size,
            valid_size=valid_size,
            class_rules=CLASSES,
            **RULES,
        )

    if mode == "eager":
        return process
    return tf.function(process, jit_compile=mode == "xla", autograph=False)


def _postprocess(size, mode="graph", batch=1, valid_size=None, scene=None):
    cells, classes = scene or _make_scene(size)
    inputs = [np.repeat(x, batch, axis=0) for x in (classes, *cells)]
    process = _make_process(size, mode)
    return process(valid_size, *(tf.constant(x) for x in inputs))


@pytest.mark.parametrize(
    "size",
    [(65, 97), (70, 90), pytest.param((64, 96), marks=pytest.mark.slow)],
)
def test_objects_are_segments_where_their_masks_are(size):
    prediction = _postprocess(size)
    panoptic = prediction.panoptic.numpy()[0]
    # The classes of the things are those of the descriptor.
    assert set(np.unique(panoptic)) == {0, 200, 101, 301}
    cells, _ = _make_scene(size)
    for number, segment in enumerate((101, 301)):
        soft = cells.features[..., number : number + 1]
        factor_size = [
            side if side == 4 * n else 4 * (n - 1) + 1
            for side, n in zip(size, soft.shape[1:3], strict=True)
        ]
        whole = upsample_bilinear(soft, factor_size, 4)[0, ..., 0].numpy()
        whole = whole[: size[0], : size[1]]
        found = (panoptic == segment)[: whole.shape[0], : whole.shape[1]]
        overlap = (found & (whole > 0)).sum() / (found | (whole > 0)).sum()
        # Where logits of stuff are high, the fused mask ends a little earlier.
        assert overlap > (0.8 if number == 0 else 0.5)
    row = prediction.segment_is_valid.numpy()[0]
    scores = prediction.segment_score.numpy()[0][row]
    assert (scores > 0.3).all()


@pytest.mark.slow
def test_modes_agree():
    expected = _postprocess((65, 97), "eager").as_dict()
    for mode in ("graph", "xla"):
        actual = _postprocess((65, 97), mode).as_dict()
        for name, value in expected.items():
            np.testing.assert_allclose(
                tf.cast(actual[name], tf.float32),
                tf.cast(value, tf.float32),
                rtol=1e-5,
                err_msg=name,
            )


@pytest.mark.slow
def test_images_of_a_batch_are_alike():
    single = _postprocess((64, 96)).as_dict()
    double = _postprocess((64, 96), batch=2).as_dict()
    for name, value in single.items():
        for image in range(2):
            np.testing.assert_array_equal(double[name][image], value[0])


def test_padding_belongs_to_nothing():
    valid_size = tf.constant([[40, 50]])
    prediction = _postprocess((64, 96), valid_size=valid_size)
    panoptic = prediction.panoptic.numpy()[0]
    assert (panoptic[40:] == CLASSES.void_id).all()
    assert (panoptic[:, 50:] == CLASSES.void_id).all()
    assert (panoptic[:40, :50] != CLASSES.void_id).any()


@pytest.mark.parametrize(
    ("size", "valid_size"),
    [
        ((65, 97), (64, 96)),
        *(
            pytest.param(*sizes, marks=pytest.mark.slow)
            for sizes in (
                ((65, 97), (62, 94)),
                ((65, 97), (65, 97)),
                ((64, 96), (60, 92)),
                ((64, 96), (61, 95)),
            )
        ),
    ],
)
def test_an_object_reaches_the_border_of_an_image_in_a_canvas(size, valid_size):
    scene = _make_scene(size, [(0, 0, *size)])
    prediction = _postprocess(
        size, valid_size=tf.constant([valid_size]), scene=scene
    )
    panoptic = prediction.panoptic.numpy()[0]
    instance = panoptic % CLASSES.label_divisor
    instance[panoptic == CLASSES.void_id] = 0
    height, width = valid_size
    assert (instance[:height, :width] == 1).all()
    assert (instance[height:] == 0).all()
    assert (instance[:, width:] == 0).all()


def test_things_alone_are_where_their_masks_are():
    rules_without_stuff = options.ClassRules(
        num_classes=2,
        thing_ids=(0, 1),
        ignore_label=255,
        label_divisor=100,
        stuff_area_limit=0,
    )
    size, boxes = (64, 96), ((2, 3, 9, 10), (6, 8, 14, 18))
    cells, _ = _make_scene(size, boxes)
    # One class everywhere, as a network without stuff classes predicts.
    classes = np.zeros((1, 16, 24, 2), np.float32)
    classes[..., 0] = 20.0
    prediction = efficientps.postprocess_cells(
        classes,
        cells,
        canvas_size=size,
        class_rules=rules_without_stuff,
        **RULES,
    )
    panoptic = prediction.panoptic.numpy()[0, ::4, ::4]
    expected = np.full((16, 24), rules_without_stuff.void_id)
    for number, (y1, x1, y2, x2) in reversed(list(enumerate(boxes))):
        expected[y1:y2, x1:x2] = number * 100 + 1
    # Borders lie between the pixels of the masks.
    assert np.mean(panoptic == expected) > 0.9
    assert set(np.unique(panoptic)) == set(np.unique(expected))


@pytest.mark.parametrize("size", [(64, 96), (65, 97)])
def test_masks_are_read_as_published_nets_upsample_them(size):
    rng = np.random.default_rng(0)
    shape = [(side - 1) // 4 + 1 for side in size]
    mask = rng.normal(size=(1, *shape)).astype(np.float32)
    found = solov2_decoding.GridObjects(
        None, None, None, tf.constant(mask), tf.zeros([1, 4])
    )
    _, frames = efficientps.place_masks(found, size)
    grid = TileGrid.of(size)
    tiles = []
    for row in range(grid.rows):
        for column in range(grid.columns):
            axes = [
                sampling.frame_axis(
                    frames[0],
                    tf.constant([row, column]),
                    axis,
                    shape[axis],
                    TILE // 4 + 3,
                )
                for axis in (0, 1)
            ]
            tiles.append(sampling.sample(tf.constant(mask[0]), *axes))
    expected = upsample_bilinear(mask[..., np.newaxis], size, 4)[0, ..., 0]
    np.testing.assert_allclose(
        grid.to_image(tf.stack(tiles)), expected, atol=1e-5
    )


def test_no_cell_gives_stuff_alone():
    cells, classes = _make_scene((64, 96), boxes=())
    prediction = efficientps.postprocess_cells(
        classes,
        cells,
        canvas_size=(64, 96),
        class_rules=CLASSES,
        **RULES,
    )
    assert set(np.unique(prediction.panoptic)) == {0, 200}
