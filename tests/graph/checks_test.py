# SPDX-License-Identifier: Apache-2.0
import pytest
import tensorflow as tf

from deeplab2_like.graph import checks

_KINDS = [checks.DATA, checks.REQUEST, checks.TRAINING]


def _fail(sentence, kind=checks.DATA):
    """Returns the error of a graph whose check fails."""

    @tf.function
    def run(is_good):
        is_good = checks.check(is_good, lambda: tf.constant(sentence), kind)
        with checks.after(is_good):
            return tf.constant(1)

    assert run(tf.constant(True)) == 1
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        run(tf.constant(False))
    return caught.value


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize(
    "sentence",
    [
        "Short.",
        'Two lines:\nit\'s "quoted", with a tab\tand a backslash \\.',
        "Brackets [1, 2] and [[3]] and <marks>.",
        "Größe 3 mal 4 ü.",
    ],
)
def test_the_sentence_of_a_check_is_found_as_it_was(sentence, kind):
    error = _fail(sentence, kind)
    for wanted in _KINDS:
        found = checks.find_sentence(error, wanted)
        assert found == (sentence if wanted == kind else None)


def test_a_check_also_fails_eagerly():
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        checks.check(tf.constant(False), lambda: tf.constant("Wrong."))
    assert checks.find_sentence(caught.value, checks.DATA) == "Wrong."
    assert checks.check(tf.constant(True), lambda: tf.constant(""))


def test_a_check_inside_of_tf_data_is_found():
    def look(number):
        is_good = checks.check(
            number < 2, lambda: checks.sentence("The number is ", number, ".")
        )
        with checks.after(is_good):
            return tf.identity(number)

    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        list(tf.data.Dataset.range(5).map(look))
    assert checks.find_sentence(caught.value, checks.DATA) == "The number is 2."


def test_a_sentence_joins_text_names_and_numbers():
    text = checks.sentence(
        "Image ",
        tf.constant("a/b"),
        " has ",
        tf.constant([3, 4]),
        " pixels, loss ",
        tf.constant(0.5),
        ", names ",
        tf.constant(["x", "y"]),
    )
    assert text.numpy().decode() == (
        'Image a/b has [3 4] pixels, loss 0.5, names ["x" "y"]'
    )


def test_the_sentence_is_not_made_while_all_is_well():
    made = []

    def make():
        made.append(1)
        return tf.constant("")

    checks.check(tf.constant(True), make)
    assert not made


def test_errors_of_older_exports_are_understood():
    error = tf.errors.InvalidArgumentError(
        None, None, "assertion failed: [The request has no image.]\n\t [[node]]"
    )
    found = checks.find_sentence(error, checks.REQUEST)
    assert found == "The request has no image."
    assert checks.find_sentence(error, checks.TRAINING) is None


@pytest.mark.parametrize(
    "error",
    [ValueError("x"), tf.errors.InternalError(None, None, "x"), OSError("x")],
)
def test_errors_of_other_code_have_no_sentence(error):
    assert checks.find_sentence(error, checks.DATA) is None


def test_text_of_a_file_in_the_error_is_no_obstacle():
    raw = b"\xff <data error> Bad \xfe bytes. </data error>"
    error = UnicodeDecodeError("utf-8", raw, 0, 1, "invalid start byte")
    assert checks.find_sentence(error, checks.DATA) == "Bad \ufffd bytes."
