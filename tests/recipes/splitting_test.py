# SPDX-License-Identifier: Apache-2.0
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from deeplab2_like.recipes import splitting

_IMAGES = st.dictionaries(
    st.text(min_size=1, max_size=8),
    st.frozensets(st.integers(0, 5), max_size=4),
    min_size=2,
    max_size=60,
)


@given(_IMAGES)
def test_a_fifth_is_set_aside_and_the_order_does_not_matter(classes):
    chosen = splitting.choose_evaluation(classes)
    assert chosen <= set(classes)
    assert len(chosen) == max(1, round(len(classes) / 5))
    turned = dict(reversed(classes.items()))
    assert splitting.choose_evaluation(turned) == chosen


def _choose_slowly(classes):
    """The rule as it is described, in time by the square of the images."""
    order = sorted(classes, key=lambda name: splitting._hash(name, 0))
    wanted = max(1, round(len(order) / 5))
    left = Counter(c for name in order for c in classes[name])
    chosen, held = [], set()

    def is_spare(name):
        return name not in chosen and all(left[c] > 1 for c in classes[name])

    def take(name):
        chosen.append(name)
        held.update(classes[name])
        left.subtract(classes[name])

    several = [c for c, count in left.items() if count > 1]
    for index in sorted(several, key=lambda c: (left[c], c)):
        if index not in held and len(chosen) < wanted:
            holders = [n for n in order if index in classes[n] and is_spare(n)]
            if holders:
                take(holders[0])
    while len(chosen) < wanted:
        rest = [name for name in order if name not in chosen]
        take(next(filter(is_spare, rest), rest[0]))
    return set(chosen)


@given(_IMAGES)
def test_the_choice_is_that_of_the_rule(classes):
    assert splitting.choose_evaluation(classes) == _choose_slowly(classes)


def test_very_many_images_are_divided_at_once():
    classes = {f"{n:06d}": frozenset({n % 7}) for n in range(20_000)}
    assert len(splitting.choose_evaluation(classes)) == 4_000


@given(_IMAGES)
def test_no_class_of_several_images_is_lost_without_need(classes):
    chosen = splitting.choose_evaluation(classes)
    rest = set(classes) - chosen
    for index in range(6):
        holders = {name for name in classes if index in classes[name]}
        if len(holders) > 1 and holders <= chosen:
            # Then no other image could have been taken.
            spare = {
                name
                for name in rest
                if all(
                    any(c in classes[n] for n in rest - {name})
                    for c in classes[name]
                )
            }
            assert not spare


@given(st.integers(2, 6), st.integers(2, 9))
def test_each_class_is_in_both_where_there_is_room(num_classes, repeats):
    classes = {
        f"{index}_{repeat}": {index}
        for index in range(num_classes)
        for repeat in range(repeats)
    }
    chosen = splitting.choose_evaluation(classes)
    held = {index for name in chosen for index in classes[name]}
    assert len(held) == min(num_classes, len(chosen))
    trained = {i for n in classes if n not in chosen for i in classes[n]}
    assert trained == set(range(num_classes))


def test_a_seed_chooses_others():
    classes = {str(index): {0} for index in range(50)}
    first = splitting.choose_evaluation(classes)
    assert splitting.choose_evaluation(classes, 1) != first
    # A rule for all time: results of other versions stay comparable.
    assert sorted(first, key=int) == GOLDEN


GOLDEN = ["7", "15", "18", "20", "25", "33", "36", "44", "45", "46"]
