# SPDX-License-Identifier: Apache-2.0
"""What an exported model says is what the live one says."""

import os
import pathlib
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.checkpoints import initialization
from deeplab2_like.config import run_config
from deeplab2_like.data import build as data_build
from deeplab2_like.data.records import features as record_features
from deeplab2_like.exports import serving
from deeplab2_like.inference import any_size, canvas
from deeplab2_like.labels import descriptor
from deeplab2_like.meta_architectures import build
from deeplab2_like.results import original_size
from deeplab2_like.scenes import scene

_SIGNATURES = pathlib.Path(__file__).parent / "signatures.txt"
_SIZES = [(1, 1), (7, 300), (64, 64), (65, 129), (100, 37), (200, 150)]


def _make_image(size, seed=0):
    if min(size) >= 33:
        return scene.make_scene(seed, size).image
    random_state = np.random.RandomState(seed)
    return random_state.randint(0, 256, (*size, 3), dtype=np.uint8)


def _encode_png(image):
    return tf.io.encode_png(image).numpy()


@pytest.fixture(scope="module")
def live(tiny_run):
    """The system and the model that was exported."""
    options = run_config.load_run_config(str(tiny_run))
    system = build.build_system(options, descriptor.load("scenes"))
    model = system.build_model(synchronize_batch_norm=False)
    prefix = checkpoint_files.find_checkpoint(str(tiny_run))
    assert initialization.restore_all(prefix, model) == 7
    return options, system, model


@pytest.fixture(scope="module")
def loaded(exported):
    return tf.saved_model.load(str(exported))


@pytest.fixture(scope="module")
def fitting(live):
    """Signatures whose canvas depends on the image, not saved."""
    options, system, model = live
    return serving.ServingModule(
        system,
        model,
        [canvas.build_preprocessing(options, "fit", system.output_stride)],
        serving.ServingOptions(max_pixels=100_000),
    ).functions


def _serve(loaded, *images):
    outputs = loaded.signatures["serving_default"](images=np.stack(images))
    return {name: value.numpy() for name, value in outputs.items()}


def _list_segments(outputs, index=0):
    """Category, score and area of the segments of one image, by id."""
    valid = outputs["segment_is_valid"][index]
    ids, *columns = [
        outputs[f"segment_{name}"][index][valid].tolist()
        for name in ("id", "category", "score", "area")
    ]
    assert len(set(ids)) == len(ids)
    return dict(zip(ids, zip(*columns, strict=True), strict=True))


def _evaluate(options, system, model, images, folder):
    """Predicts through records and the pipeline, as the evaluator does."""
    with tf.io.TFRecordWriter(str(folder / "val.tfrecord")) as writer:
        for index, image in enumerate(images):
            size = image.shape[:2]
            example = record_features.encode_example(
                name=str(index),
                image=_encode_png(image),
                image_format="png",
                size=size,
                panoptic=np.zeros(size, np.int32),
            )
            writer.write(example)
    data = type(options.eval_dataset_options)()
    data.CopyFrom(options.eval_dataset_options)
    data.file_pattern[:] = [str(folder / "val.tfrecord")]
    data.batch_size = 1
    dataset = data_build.build_evaluation_dataset(data, system.descriptor)
    postprocess = tf.function(system.postprocess, autograph=False)
    for batch in dataset:
        height, width = batch["image"].shape[1:3]
        outputs = model(batch["image"], training=False)
        prediction = postprocess(outputs, (height, width), batch["valid_size"])
        arrays = tf.nest.map_structure(
            lambda x: x.numpy(), (dict(batch), prediction.as_dict())
        )
        yield from original_size.restore_images(*arrays)


@pytest.mark.slow
def test_the_result_is_that_of_the_evaluation(live, loaded, tmp_path):
    images = [_make_image(size, seed) for seed, size in enumerate(_SIZES)]
    evaluated = list(_evaluate(*live, images, tmp_path))
    num_segments = 0
    for image, expected in zip(images, evaluated, strict=True):
        outputs = _serve(loaded, image)
        np.testing.assert_array_equal(outputs["panoptic"][0], expected.panoptic)
        np.testing.assert_array_equal(outputs["semantic"][0], expected.semantic)
        ids, areas = np.unique(expected.panoptic, return_counts=True)
        table = dict(
            zip(
                expected.segments["id"].tolist(),
                expected.segments["score"].tolist(),
                strict=True,
            )
        )
        assert _list_segments(outputs) == {
            i: (i // 1000, pytest.approx(table[i], rel=1e-4), area)
            for i, area in zip(ids.tolist(), areas.tolist(), strict=True)
            if i != 255_000
        }
        num_segments += len(_list_segments(outputs))
    assert num_segments > len(_SIZES), "the test shows nothing"


@pytest.mark.parametrize("size", _SIZES)
def test_maps_have_the_size_of_the_image(fitting, size):
    image = _make_image(size)
    outputs = fitting["serving_default"](tf.constant(image[np.newaxis]))
    assert outputs["panoptic"].shape == (1, *size)
    assert outputs["semantic"].shape == (1, *size)
    area = tf.reduce_sum(outputs["segment_area"]).numpy()
    assert area == np.sum(outputs["panoptic"] != 255_000)


def test_a_fitting_canvas_gives_what_evaluation_on_it_gives(
    live, fitting, tmp_path
):
    options, system, model = live
    padded = type(options)()
    padded.CopyFrom(options)
    padded.eval_dataset_options.crop_size[:] = [17, 17]
    padded.eval_dataset_options.pad_to_multiple_of = 16
    image = _make_image((100, 37))
    (expected,) = _evaluate(padded, system, model, [image], tmp_path)
    outputs = fitting["serving_default"](tf.constant(image[np.newaxis]))
    np.testing.assert_array_equal(outputs["panoptic"][0], expected.panoptic)


def test_a_batch_gives_what_its_images_give_alone(loaded):
    images = [_make_image((70, 90), seed) for seed in (3, 4)]
    together = _serve(loaded, *images)
    assert together["panoptic"].shape == (2, 70, 90)
    for index, image in enumerate(images):
        alone = _serve(loaded, image)
        for name in ("panoptic", "semantic"):
            np.testing.assert_array_equal(together[name][index], alone[name][0])
        assert _list_segments(alone) == _list_segments(together, index)


def test_encoded_images_give_what_their_pixels_give(loaded):
    image = _make_image((70, 90))
    files = [tf.io.encode_jpeg(image).numpy()] * 2
    pixels = tf.io.decode_image(files[0]).numpy()
    encoded = loaded.signatures["encoded"](image_bytes=tf.constant(files))
    expected = _serve(loaded, pixels, pixels)
    assert set(encoded) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(encoded[name], value)


def test_sixteen_bit_images_are_refused(loaded):
    """Which of the bits are in use is not known, see docs/data.md."""
    pixels = _make_image((40, 50)).astype(np.uint16) * 257
    file = tf.io.encode_png(pixels).numpy()
    with pytest.raises(tf.errors.InvalidArgumentError, match="than 8 bits a"):
        loaded.signatures["encoded"](image_bytes=tf.constant([file]))


@pytest.mark.parametrize("shape", [(0, 5, 5, 3), (1, 0, 5, 3), (1, 5, 0, 3)])
def test_requests_without_pixels_are_refused(loaded, shape):
    with pytest.raises(tf.errors.InvalidArgumentError, match="Allowed are 1"):
        loaded.signatures["serving_default"](images=tf.zeros(shape, tf.uint8))


def test_too_large_requests_are_refused(fitting):
    with pytest.raises(tf.errors.InvalidArgumentError, match="to 100000 pix"):
        fitting["serving_default"](tf.zeros([2, 300, 200, 3], tf.uint8))


def _describe_signatures(loaded):
    lines = []
    for name in sorted(loaded.signatures):
        function = loaded.signatures[name]
        lines.append(name)
        for kind, specs in (
            ("input", function.structured_input_signature[1]),
            ("output", function.structured_outputs),
        ):
            for key in sorted(specs):
                spec = specs[key]
                shape = [size or "?" for size in spec.shape.as_list()]
                listed = ", ".join(map(str, shape))
                lines.append(f"  {kind} {key}: {spec.dtype.name} [{listed}]")
    return "\n".join(lines) + "\n"


def test_the_signatures_are_the_published_ones(loaded):
    # Clients depend on them: a change needs a line in the changelog.
    assert _describe_signatures(loaded) == _SIGNATURES.read_text()


def _save_compiled(live, folder):
    options, system, model = live
    module = serving.ServingModule(
        system,
        model,
        [canvas.build_preprocessing(options, "config", system.output_stride)],
        serving.ServingOptions(max_pixels=100_000, jit_compile=True),
    )
    module.save(str(folder))


@pytest.mark.parametrize(
    "is_compiled", [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_a_session_loader_gives_the_same(
    live, exported, loaded, tmp_path, is_compiled
):
    folder = exported
    if is_compiled:
        folder = tmp_path
        _save_compiled(live, folder)
    image = _make_image((80, 70))
    inputs = {
        "serving_default": image[np.newaxis],
        "encoded": [_encode_png(image)],
    }
    expected = _serve(loaded, image)["panoptic"]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
        for name, fed in inputs.items():
            signature = graph.signature_def[name]
            (tensor,) = signature.inputs.values()
            fetched = session.run(
                signature.outputs["panoptic"].name, {tensor.name: fed}
            )
            np.testing.assert_array_equal(fetched, expected)
        signature = graph.signature_def["encoded_compact"]
        (tensor,) = signature.inputs.values()
        files = [inputs["encoded"][0], b"hello"]
        errors, counts = session.run(
            [signature.outputs[key].name for key in ("error", "num_segments")],
            {tensor.name: files},
        )
    assert not errors[0]
    assert b"neither a JPEG" in errors[1]
    assert counts.tolist() == [len(_list_segments(_serve(loaded, image))), 0]


@pytest.mark.slow
def test_it_loads_without_keras_and_this_package(exported, loaded, tmp_path):
    image = _make_image((80, 70))
    np.save(tmp_path / "image.npy", image)
    program = """
        import importlib.machinery
        import sys

        class Blocked:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in ("keras", "tf_keras", "deeplab2_like"):
                    return importlib.machinery.ModuleSpec(name, self)

            def create_module(self, spec):
                raise ImportError(spec.name + " is blocked")

            def exec_module(self, module):
                raise AssertionError

        sys.meta_path.insert(0, Blocked())
        import numpy as np
        import tensorflow as tf

        model = tf.saved_model.load(sys.argv[1])
        image = np.load(sys.argv[2] + "/image.npy")
        found = model.signatures["serving_default"](images=image[None])
        np.save(sys.argv[2] + "/panoptic.npy", found["panoptic"].numpy())
    """
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent(program),
            str(exported),
            str(tmp_path),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(
        np.load(tmp_path / "panoptic.npy"), _serve(loaded, image)["panoptic"]
    )


@pytest.mark.parametrize("num_ids", [3000, 2**23])
def test_pixels_are_counted_by_id(num_ids):
    ids = np.random.RandomState(0).randint(0, 5, (2, 9, 11)) * 700
    wanted = np.array([[0, 700, 2900], [2800, 1, 0]], np.int32)
    counts = any_size.count_pixels(
        tf.constant(ids, tf.int32), tf.constant(wanted), num_ids
    )
    expected = [
        [np.sum(map_hw == i) for i in row]
        for map_hw, row in zip(ids, wanted, strict=True)
    ]
    np.testing.assert_array_equal(counts, expected)
