# SPDX-License-Identifier: Apache-2.0
"""Equal and nearly equal images."""

import numpy as np
import pytest

from deeplab2_like.data.inspection import duplicates, facts


def _search(values, splits, is_twin):
    """Finds twins one by one: the nearest, of equal ones the first."""
    within, between = [], []
    for j in range(len(values)):
        best = {}
        for i in range(len(values)):
            distance = is_twin(values[i], values[j])
            kind = None
            if splits[i] == splits[j] and i < j:
                kind = "within"
            elif splits[i] < splits[j]:
                kind = "between"
            if kind and distance <= duplicates.NEAR_BITS:
                best.setdefault(kind, []).append((distance, i))
        for kind, pairs in (("within", within), ("between", between)):
            if kind in best:
                pairs.append([min(best[kind])[0], j])
    return within, between


def _count(a, b):
    return (int(a) ^ int(b)).bit_count()


@pytest.mark.parametrize("seed", range(20))
def test_near_hashes_are_those_that_a_search_of_all_pairs_finds(seed):
    random = np.random.default_rng(seed)
    base = random.integers(0, 2**63, 12, dtype=np.uint64)
    hashes = base[random.integers(0, 12, 80)]
    for _ in range(int(random.integers(0, 6))):
        flips = random.integers(0, 64, 80).astype(np.uint64)
        hashes = hashes ^ (np.uint64(1) << flips)
    splits = random.integers(0, 3, 80).astype(np.uint8)
    found = duplicates.find_near(hashes, splits, np.ones(80, bool))
    within, between = _search(hashes, splits, _count)
    assert found.within[:, 1].tolist() == [j for _, j in within]
    assert found.between[:, 1].tolist() == [j for _, j in between]
    for pairs, searched in ((found.within, within), (found.between, between)):
        distances = [_count(hashes[i], hashes[j]) for i, j in pairs]
        assert distances == [distance for distance, _ in searched]


@pytest.mark.parametrize("seed", range(5))
def test_equal_digests_are_those_that_a_search_finds(seed):
    random = np.random.default_rng(seed)
    digests = random.integers(0, 20, 60).astype(np.uint64)
    splits = random.integers(0, 2, 60).astype(np.uint8)
    found = duplicates.find_equal(digests, splits)
    within, between = _search(digests, splits, lambda a, b: 99 * (a != b))
    assert found.within[:, 1].tolist() == [j for _, j in within]
    assert found.between[:, 1].tolist() == [j for _, j in between]
    for i, j in [*found.within, *found.between]:
        assert digests[i] == digests[j]


def test_thousands_of_equal_images_are_all_found():
    splits = np.array([0, 1] * 2500, np.uint8)
    same = np.zeros(5000, np.uint64)
    found = duplicates.find_equal(same, splits)
    assert len(found.within) == 4998
    assert len(found.between) == 2500
    near = duplicates.find_near(same, splits, np.ones(5000, bool))
    assert len(near.between) == 2500


def test_images_without_a_hash_have_no_twin():
    hashes = np.zeros(4, np.uint64)
    is_hashed = np.array([True, False, False, True])
    found = duplicates.find_near(hashes, np.zeros(4, np.uint8), is_hashed)
    assert found.within.tolist() == [[0, 3]]


def test_no_image_has_no_twin():
    none = np.zeros(0, np.uint64)
    found = duplicates.find_equal(none, np.zeros(0, np.uint8))
    assert found.within.shape == found.between.shape == (0, 2)


def _draw(seed, size=(120, 160)):
    random = np.random.default_rng(seed)
    from PIL import Image

    coarse = random.integers(0, 256, (12, 16, 3), np.uint8)
    image = Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC)
    return np.asarray(image)


def test_a_hash_stays_when_an_image_is_smaller_or_noisy():
    image = _draw(1)
    noise = np.random.default_rng(2).integers(-6, 7, image.shape)
    noisy = np.clip(image + noise, 0, 255).astype(np.uint8)
    first = facts.compute_difference_hash(image)
    assert _count(first, facts.compute_difference_hash(noisy)) <= 3
    half = image.reshape(60, 2, 80, 2, 3).mean((1, 3)).astype(np.uint8)
    assert _count(first, facts.compute_difference_hash(half)) <= 3
    other = facts.compute_difference_hash(_draw(3))
    assert _count(first, other) > 10


def test_even_images_have_no_hash():
    assert facts.compute_difference_hash(np.zeros((9, 9, 3), np.uint8)) is None
    dark = np.zeros((100, 100, 3), np.uint8)
    dark[40:44, 50:54] = 255
    assert facts.compute_difference_hash(dark) is None
    assert facts.compute_difference_hash(np.zeros((0, 4, 3), np.uint8)) is None
    assert facts.compute_difference_hash(np.zeros((1, 1, 3), np.uint8)) is None


def test_equal_pixels_have_equal_digests_whatever_their_memory_is_like():
    image = _draw(1)
    found = facts.measure(image, None, 1000)
    turned = np.asfortranarray(image)
    assert facts.measure(turned, None, 1000).digest == found.digest
    assert facts.measure(image[:, :-1], None, 1000).digest != found.digest
    flat = np.zeros((4, 6, 3), np.uint8)
    assert (
        facts.measure(flat, None, 1000).digest
        != facts.measure(flat.reshape(6, 4, 3), None, 1000).digest
    )


def test_one_color_is_told_from_one_pixel_that_differs():
    flat = np.full((30, 20, 3), 9, np.uint8)
    assert facts.measure(flat, None, 1000).is_uniform
    flat[29, 19, 2] = 10
    assert not facts.measure(flat, None, 1000).is_uniform
    assert facts.measure(flat[:0], None, 1000).is_uniform
