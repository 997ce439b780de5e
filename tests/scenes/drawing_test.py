# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from deeplab2_like.scenes import drawing
from deeplab2_like.scenes.drawing import color

_RED = color(1, 0, 0)
_BLUE = color(0, 0, 1)
_SCALE = 20.0


def _open(column=100.0, reach=(3.0, 3.0)):
    camera = drawing.Camera(
        height=150, width=200, horizon=60.0, vanish=100.0, eye=2.0
    )
    return drawing.Sprite(
        camera, column=column, scale=_SCALE, reach=reach, top=4.0, bottom=-1.0
    )


def _area(sprite):
    """Area in square metres."""
    return float(sprite.alpha.sum()) / _SCALE**2


def test_the_foot_of_a_sprite_is_on_the_ground_below_the_horizon():
    sprite = _open()
    rows, columns = sprite.window
    row = int(np.flatnonzero(np.isclose(sprite.v[:, 0], 0))[0]) + rows.start
    column = int(np.flatnonzero(np.isclose(sprite.u[0], 0))[0])
    assert row == 60 + 2 * _SCALE
    assert column + columns.start == 100


@pytest.mark.parametrize(
    ("draw", "area"),
    [
        (lambda s: s.box(_RED, (0, 1), (1.0, 0.5)), 2.0),
        (
            lambda s: s.box(_RED, (0, 1), (1.0, 0.5), 0.5),
            1.0 + np.pi * 0.25,
        ),
        (lambda s: s.ellipse(_RED, (0, 1), (1.0, 1.0)), np.pi),
        (lambda s: s.line(_RED, (-1, 1), (1, 1), 0.25), 1 + np.pi / 16),
        (lambda s: s.polygon(_RED, [(-1, 0), (1, 0), (0, 2)]), 2.0),
        (lambda s: s.polygon(_RED, [(0, 2), (1, 0), (-1, 0)]), 2.0),
        (
            lambda s: s.polygon(_RED, [(-1, 0), (1, 0), (1, 1), (-1, 1)]),
            2.0,
        ),
    ],
)
def test_a_shape_covers_its_area(draw, area):
    sprite = _open()
    draw(sprite)
    assert _area(sprite) == pytest.approx(area, rel=0.03)
    # Premultiplied: no colour where there is no cover.
    np.testing.assert_allclose(sprite.rgb[0], sprite.alpha, atol=1e-6)


def test_later_paint_covers_earlier_paint():
    sprite = _open()
    sprite.box(_RED, (0, 1), (1, 1))
    sprite.box(_BLUE, (0, 1), (0.5, 0.5))
    assert _area(sprite) == pytest.approx(4.0, rel=0.03)
    assert sprite.rgb[2].sum() / _SCALE**2 == pytest.approx(1.0, rel=0.03)


def test_a_sprite_outside_the_image_is_empty_and_can_be_painted():
    sprite = _open(column=900.0)
    assert sprite.is_empty
    sprite.box(_RED, (0, 1), (1, 1))
    sprite.polygon(_RED, [(-1, 0), (1, 0), (0, 2)])
    sprite.fade(_BLUE, 0.5)


def test_a_sprite_at_the_edge_is_cut():
    sprite = _open(column=0.0)
    sprite.box(_RED, (0, 1), (1, 1))
    assert sprite.window[1].start == 0
    assert _area(sprite) == pytest.approx(2.0, rel=0.05)


def test_merged_sprites_look_like_one_after_the_other():
    first, second = _open(column=90.0), _open(column=110.0)
    first.box(_RED, (0, 1), (1, 1))
    second.box(_BLUE, (0, 1), (1, 1))
    merged = drawing.merge([first, second])
    # Each 2 x 2 metres, one metre apart: 2 of the first are hidden.
    assert _area(merged) == pytest.approx(6.0, rel=0.03)
    assert merged.rgb[2].sum() / _SCALE**2 == pytest.approx(4.0, rel=0.03)


def test_nothing_cannot_be_merged():
    with pytest.raises(ValueError, match="one sprite at least"):
        drawing.merge([])


@pytest.mark.parametrize("kind", ["cloud", "leaf", "grain"])
def test_noise_fills_its_range_and_is_periodic(kind):
    tile = drawing.noise_tile(kind)
    assert tile.dtype == np.float32
    assert tile.min() == 0
    assert tile.max() == 1
    assert 0.3 < tile.mean() < 0.7
    inner = np.abs(np.diff(tile, axis=0)).mean()
    seam = np.abs(tile[0] - tile[-1]).mean()
    assert seam < 2 * inner
    place = np.arange(-5, 5, dtype=np.float32)
    for smooth in (False, True):
        np.testing.assert_array_equal(
            drawing.texture(kind, place, place, smooth),
            drawing.texture(kind, place + 256, place - 512, smooth),
        )


def test_scattered_numbers_look_random_and_are_fixed():
    y, x = np.mgrid[:40, :50].astype(np.float32)
    numbers = drawing.scatter(y, x, 3)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert abs(numbers.mean() - 0.5) < 0.03
    assert (
        abs(np.corrcoef(numbers[:, 1:].ravel(), numbers[:, :-1].ravel())[0, 1])
        < 0.1
    )
    np.testing.assert_array_equal(numbers, drawing.scatter(y + 0.9, x, 3))


def test_dice_of_one_seed_agree_and_streams_differ():
    def throw(seed, stream):
        dice = drawing.Dice(seed, stream)
        return [dice.uniform(2, 3) for _ in range(4)] + [dice.index(9)]

    assert throw(1, 0) == throw(1, 0)
    assert throw(1, 0) != throw(1, 1)
    assert throw(1, 0) != throw(2, 0)
    assert all(2 <= value < 3 for value in throw(1, 0)[:4])
