# SPDX-License-Identifier: Apache-2.0
"""Sets images aside for evaluation, by a rule that is the same everywhere."""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping

SEED = 0
# Every fifth image.
_SHARE = 5

RULE = (
    "one image in 5, in the order of a hash of the name (seed 0), so that each "
    "class of two images or more is in both where possible"
)


def choose_evaluation(
    classes: Mapping[str, Collection[int]], seed: int = SEED
) -> set[str]:
    """Chooses the images that are evaluated on and not trained on.

    The order of images is that of the SHA-256 of "seed:name". First each class
    that at least two images have, rare ones first, gets an image, if it has
    none yet; then the first images fill up the fifth. Images without which a
    class would be missing in training are taken only if there are no others.

    Args:
        classes: Indices of the classes in each image, by its name; two or
            more images.
        seed: Another seed chooses others.

    Returns:
        Names of the images: a fifth of all, rounded, and at least one.
    """
    order = sorted(classes, key=lambda name: _hash(name, seed))
    wanted = max(1, round(len(order) / _SHARE))
    left = Counter(c for name in order for c in set(classes[name]))
    rare_first = sorted(
        (c for c, count in left.items() if count > 1),
        key=lambda c: (left[c], c),
    )
    chosen: set[str] = set()
    held: set[int] = set()

    def is_spare(name: str) -> bool:
        return name not in chosen and all(left[c] > 1 for c in classes[name])

    def take(name: str) -> None:
        chosen.add(name)
        held.update(classes[name])
        left.subtract(set(classes[name]))

    for index in rare_first:
        if index not in held and len(chosen) < wanted:
            holders = (n for n in order if index in classes[n] and is_spare(n))
            first = next(holders, None)
            if first is not None:
                take(first)
    # One pass each: an image that is not spare once is so no more.
    for is_fit in (is_spare, lambda name: name not in chosen):
        for name in order:
            if len(chosen) < wanted and is_fit(name):
                take(name)
    return chosen


def _hash(name: str, seed: int) -> str:
    text = f"{seed}:{name}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).hexdigest()
