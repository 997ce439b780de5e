# SPDX-License-Identifier: Apache-2.0
"""From masks and class logits to a map with one instance for each pixel.

The panoptic fusion module of EfficientPS: Mohan and Valada (arXiv:2004.02307),
section 3.5. An instance wins a pixel where both its mask logit and the logit of
its class are high, so that together they exceed the logits of all stuff.

Images are processed tile by tile, and of each mask only the tiles that its box
touches: no map of the size of the image exists for each mask. For large masks,
bounds of the values that a tile reads show first which tiles need no drawing.

K masks; h, w: size of a mask; H, W: size of the image; N tiles of T x T.
"""

import math
from typing import NamedTuple

import tensorflow as tf

from deeplab2_like.graph import compilation, exact_floats
from deeplab2_like.graph.compilation import Size
from deeplab2_like.postprocess.masks import fusion_masks, fusion_state, sampling
from deeplab2_like.postprocess.masks.heuristic_merge import Placed
from deeplab2_like.postprocess.masks.pasting import TILE, TileGrid
from deeplab2_like.postprocess.options import FusionRules

# Up to so many tiles are drawn without computing bounds, which is faster.
_FEW_TILES = 16
# Far more than the rounding of a claim.
_MARGIN = 1e-4


def fuse_masks(
    masks: fusion_masks.FusionMasks,
    logits_hwc: tf.Tensor,
    best_hw: tf.Tensor,
    valid_size: tf.Tensor,
    rules: FusionRules,
) -> Placed:
    """Assigns each pixel to the instance with the highest claim, or to none.

    Masks are visited by decreasing score, equal ones in their order. One most
    of whose pixels belong to earlier ones is left out, and so is an empty one.
    The claim of a kept one at each pixel of its box is

        (sigmoid(a) + sigmoid(b)) * (a + b)

    where a is its mask logit and b the logit of its class. The pixel belongs
    to the mask with the highest claim, the first of equal ones, if it is more
    than all stuff logits.

    Differences from the published code: there, an empty mask is kept, and
    pixels outside of a box can be won too (`zero_outside` of the rules).

    Args:
        masks: The masks.
        logits_hwc: float32 [h', w', C], class logits, corners on corners with
            the image.
        best_hw: float32 [H, W], the highest stuff logit of each pixel.
        valid_size: int32 [2], height and width of the part that is image.
        rules: Which masks become instances.
    """
    fusion = _Fusion(masks, logits_hwc, best_hw, valid_size, rules)
    (num_masks,) = masks.score.shape
    ranked = tf.math.top_k(masks.score, num_masks)
    is_high = ranked.values >= rules.lowest_score
    count = tf.reduce_sum(tf.cast(is_high, tf.int32))

    def visit(rank, tiles, is_kept):
        index = ranked.indices[rank]
        mask = fusion.take(index)
        is_instance = fusion.is_free(mask, tiles)
        tiles = fusion.claim(mask, tiles, index, is_instance)
        is_kept = tf.tensor_scatter_nd_update(
            is_kept, [[index]], is_instance[tf.newaxis]
        )
        return rank + 1, tiles, is_kept

    _, tiles, is_kept = tf.while_loop(
        lambda rank, *_: rank < count,
        visit,
        (
            0,
            fusion_state.Tiles.of(best_hw, fusion.grid),
            tf.zeros([num_masks], tf.bool),
        ),
        parallel_iterations=1,
    )
    owner = fusion_state.State.unpack(tiles.pixels).owner
    return Placed(fusion.grid.to_image(owner // 2), is_kept)


class _Mask(NamedTuple):
    """One mask and the logits of its class.

    Attributes:
        logits: float32 [h, w].
        frame: float32 [4], see `FusionMasks`.
        class_logits: float32 [h', w'].
        region: Pixels that can be won.
        mask_region: Pixels of the region where the mask is not 0.
        class_region: Pixels of the region where the class logit is not 0.
        kinds: Kinds of the tiles.
    """

    logits: tf.Tensor
    frame: tf.Tensor
    class_logits: tf.Tensor
    region: sampling.Region
    mask_region: sampling.Region
    class_region: sampling.Region
    kinds: "_Kinds"


class _Kinds(NamedTuple):
    """How a mask covers each tile.

    Attributes:
        is_covered: bool [N], all pixels belong to the mask.
        is_mixed: bool [N], some pixels may belong to it: it has to be drawn.
            Other tiles are empty.
        claim: float32 [N], upper bound of the claims of the pixels; minus
            infinity where no pixel can be won.
    """

    is_covered: tf.Tensor
    is_mixed: tf.Tensor
    claim: tf.Tensor


class _Fusion:
    """The steps for one mask."""

    def __init__(
        self,
        masks: fusion_masks.FusionMasks,
        logits_hwc: tf.Tensor,
        best_hw: tf.Tensor,
        valid_size: tf.Tensor,
        rules: FusionRules,
    ):
        """Prepares what all masks share.

        Args:
            masks: As in `fuse_masks`.
            logits_hwc: As in `fuse_masks`.
            best_hw: As in `fuse_masks`.
            valid_size: As in `fuse_masks`.
            rules: As in `fuse_masks`.
        """
        self.grid = TileGrid.of(_pair(compilation.sizes(best_hw)))
        self._masks = masks
        self._logits_chw = tf.transpose(logits_hwc, [2, 0, 1])
        self._class_grid = sampling.Grid.of(
            _pair(compilation.sizes(logits_hwc)[:2]), self.grid
        )
        self._class_bounds = sampling.bound_tiles(
            self._logits_chw,
            self._class_grid.tiles(0),
            self._class_grid.tiles(1),
        )
        self._valid_size = valid_size
        self._rules = rules

    def take(self, index: tf.Tensor) -> _Mask:
        """Returns one of the masks."""
        masks = self._masks
        channel = tf.gather(masks.channel, index)
        frame = tf.gather(masks.frames, index)
        logits = tf.gather(masks.logits, index)
        region = mask_region = class_region = self._find_region(
            tf.gather(masks.boxes, index)
        )
        if self._rules.zero_outside:
            limit = tf.cast(self._valid_size, tf.float32)
            region = self._find_region(tf.concat([[0.0, 0.0], limit], axis=0))
            mask_region = self._find_region(frame)
        return _Mask(
            logits,
            frame,
            tf.gather(self._logits_chw, channel),
            region,
            mask_region,
            class_region,
            self._find_kinds(logits, frame, channel, region),
        )

    def _find_region(self, box: tf.Tensor) -> sampling.Region:
        return sampling.find_region(box, self._valid_size)

    def _find_kinds(
        self,
        logits: tf.Tensor,
        frame: tf.Tensor,
        channel: tf.Tensor,
        region: sampling.Region,
    ) -> _Kinds:
        """Finds how a mask covers the tiles of its region."""
        tiles = (self.grid.rows, self.grid.columns)
        is_touched, is_whole = region.mark_tiles(tiles)

        def bound() -> _Kinds:
            rows, columns = (
                sampling.frame_tiles(frame, tiles[axis], axis, number)
                for axis, number in enumerate(compilation.sizes(logits))
            )
            highest, negative = tf.unstack(
                sampling.bound_tiles(tf.stack([logits, -logits]), rows, columns)
            )
            lowest = -negative
            of_class = tf.gather(self._class_bounds, channel)
            if self._rules.zero_outside:
                lowest = tf.minimum(lowest, 0.0)
                highest = tf.maximum(highest, 0.0)
                of_class = tf.maximum(of_class, 0.0)
            is_covered = is_whole & (lowest > self._rules.mask_logit)
            is_empty = highest < self._rules.mask_logit
            claim = compute_claim(
                exact_floats.rounded(highest * self._rules.mask_logit_scale),
                of_class,
            )
            # Claims grow with both logits where they are positive; those of
            # NaN are 0.
            claim = tf.maximum(claim * (1.0 + _MARGIN), 0.0) + _MARGIN
            claim = tf.where(is_touched, claim, -math.inf)
            return _Kinds(
                is_covered, is_touched & ~is_covered & ~is_empty, claim
            )

        kinds = tf.cond(
            region.count > _FEW_TILES,
            bound,
            lambda: _Kinds(
                tf.zeros_like(is_touched),
                is_touched,
                tf.where(is_touched, math.inf, -math.inf),
            ),
        )
        return _Kinds(*(tf.reshape(kind, [-1]) for kind in kinds))

    def is_free(self, mask: _Mask, tiles: fusion_state.Tiles) -> tf.Tensor:
        """Returns whether a mask has pixels, enough of which are free."""
        order, count = compilation.list_true(mask.kinds.is_mixed)

        def visit(number, area, taken):
            place = order[number]
            is_mask = self._draw(mask, place) > self._rules.mask_logit
            # The lowest bit of a packed state is that of the owner.
            before = tf.gather(tiles.pixels, place)
            is_taken = is_mask & (tf.bitwise.bitwise_and(before, 1) > 0)
            in_tile = fusion_state.count_both(is_mask, is_taken)
            return number + 1, area + in_tile[0], taken + in_tile[1]

        is_covered = mask.kinds.is_covered
        _, area, taken = tf.while_loop(
            lambda number, *_: number < count,
            visit,
            (
                0,
                _count(is_covered) * TILE**2,
                tf.reduce_sum(tf.where(is_covered, tiles.taken, 0)),
            ),
            parallel_iterations=1,
        )
        limit = self._rules.largest_overlap
        area, taken = tf.cast(area, tf.int64), tf.cast(taken, tf.int64)
        is_new = taken * limit.denominator <= area * limit.numerator
        return (area > 0) & is_new

    def claim(
        self,
        mask: _Mask,
        tiles: fusion_state.Tiles,
        index: tf.Tensor,
        is_instance: tf.Tensor,
    ) -> fusion_state.Tiles:
        """Assigns to a mask the pixels that it wins.

        Args:
            mask: The mask.
            tiles: The state before.
            index: int32, index of the mask.
            is_instance: bool, the mask is kept; else nothing changes.

        Returns:
            The state after it.
        """
        can_win = mask.kinds.claim > tiles.least
        is_visited = can_win | mask.kinds.is_covered | mask.kinds.is_mixed
        order, count = compilation.list_true(is_visited & is_instance)

        def visit(number, tiles):
            place = order[number]
            before = fusion_state.State.unpack(tf.gather(tiles.pixels, place))
            logit = self._draw(mask, place)
            claim = self._compute_claim(
                mask, place, logit, tf.gather(can_win, place)
            )
            tile = self.grid.locate(place)
            is_won = mask.region.mark_inside(tile) & (claim > before.best)
            was_taken = before.owner % 2
            owner = tf.where(is_won, 2 * (index + 1), before.owner - was_taken)
            is_mask = logit > self._rules.mask_logit
            after = fusion_state.State(
                owner + tf.where(is_mask, 1, was_taken),
                tf.where(is_won, claim, before.best),
            )
            taken = fusion_state.sum_tile(after.owner % 2)
            # The pixels depend on the count (by a term of 0), so that XLA
            # counts before it writes, and does not copy them to count later.
            packed = after.pack() + tf.cast(tf.minimum(taken, 0), tf.int64)
            where = [[place]]
            return number + 1, fusion_state.Tiles(
                tf.tensor_scatter_nd_update(
                    tiles.pixels, where, packed[tf.newaxis]
                ),
                tf.tensor_scatter_nd_update(
                    tiles.taken, where, taken[tf.newaxis]
                ),
                # Claims only rise: this stays a lower bound.
                tiles.least,
            )

        _, tiles = tf.while_loop(
            lambda number, _: number < count,
            visit,
            (0, tiles),
            parallel_iterations=1,
        )
        return tiles

    def _draw(self, mask: _Mask, place: tf.Tensor) -> tf.Tensor:
        """Returns the logits of a mask in a tile, 0 or less outside: [T, T]."""
        tile = self.grid.locate(place)
        rows, columns = (
            sampling.frame_axis(
                mask.frame, tile, axis, number, self._masks.reach
            )
            for axis, number in enumerate(compilation.sizes(mask.logits))
        )
        logit = sampling.sample(mask.logits, rows, columns)
        outside = 0.0 if self._rules.zero_outside else -math.inf
        return tf.where(mask.mask_region.mark_inside(tile), logit, outside)

    def _compute_claim(
        self,
        mask: _Mask,
        place: tf.Tensor,
        logit: tf.Tensor,
        can_win: tf.Tensor,
    ) -> tf.Tensor:
        """Computes the claims of a mask in a tile: [T, T].

        Minus infinity if it cannot win any pixel.
        """
        tile = self.grid.locate(place)

        def compute() -> tf.Tensor:
            b = sampling.sample(
                mask.class_logits,
                self._class_grid.axis(tile, 0),
                self._class_grid.axis(tile, 1),
            )
            if self._rules.zero_outside:
                b = tf.where(mask.class_region.mark_inside(tile), b, 0.0)
            a = exact_floats.rounded(logit * self._rules.mask_logit_scale)
            # Twice as wide, so that XLA does not reuse the memory of a or b for
            # it: else it does not vectorize.
            return fusion_state.widen(compute_claim(a, b))

        wide = tf.cond(
            can_win,
            compute,
            lambda: fusion_state.widen(tf.fill([TILE, TILE], -math.inf)),
        )
        return fusion_state.narrow(wide)


def compute_claim(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Returns (sigmoid(a) + sigmoid(b)) * (a + b), equal in every mode."""
    trust = exact_floats.sigmoid(a) + exact_floats.sigmoid(b)
    return exact_floats.rounded(trust) * exact_floats.rounded(a + b)


def _pair(sizes: tuple[Size, ...]) -> tuple[Size, Size]:
    height, width = sizes
    return height, width


def _count(flags: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(flags, tf.int32))
