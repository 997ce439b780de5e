# SPDX-License-Identifier: Apache-2.0
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
