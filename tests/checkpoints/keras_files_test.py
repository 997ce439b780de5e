# SPDX-License-Identifier: Apache-2.0
"""Weights of keras.applications give the outputs of keras.applications."""

import functools
import gc
import types
import zipfile

import h5py
import keras
import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.checkpoints import conversion, initialization, keras_files
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.config import run_config
from deeplab2_like.model.backbones.efficientnet import EfficientNet
from deeplab2_like.model.backbones.max_deeplab import max_deeplab_l_backbone
from deeplab2_like.model.backbones.mobilenet_v3 import MobileNetV3

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

# Of odd sizes at every stride, so that both sides pad alike.
_SIZE = (65, 97)
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
# Last layers of the stages; res5 is that of the top.
_LAST_LAYERS = {1: "res1", 2: "res2", 3: "res3", 5: "res4"}


def _make_net(name, *, size=_SIZE, top=False, seed=0):
    """Makes a net of keras.applications with random weights."""
    keras.utils.set_random_seed(seed)
    make = getattr(keras.applications, name)
    classes = {"classes": 7} if top else {}
    net = make(include_top=top, weights=None, input_shape=(*size, 3), **classes)
    rng = np.random.default_rng(seed)
    for variable in net.variables:
        name = variable.path.rpartition("/")[2]
        if name == "moving_variance":
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif name == "gamma":
            variable.assign(rng.uniform(0.7, 1.3, variable.shape))
        elif name in ("moving_mean", "beta", "bias"):
            variable.assign(rng.normal(0.0, 0.1, variable.shape))
        elif name == "mean":
            variable.assign(rng.uniform(0.3, 0.6, variable.shape))
        elif name == "variance":
            variable.assign(rng.uniform(0.03, 0.08, variable.shape))
    for layer in net.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # takes over what was assigned
    return net


def _compute_endpoints(net, image):
    last = {}
    for layer in net.layers:
        if layer.name.startswith("block") and layer.name.endswith(
            ("_project_bn", "_add")
        ):
            last[int(layer.name[5])] = layer.output
    outputs = {_LAST_LAYERS[s]: last[s] for s in _LAST_LAYERS}
    outputs["res5"] = net.get_layer("top_activation").output
    return keras.Model(net.input, outputs)(image, training=False)


def _make_image(size=_SIZE):
    rng = np.random.default_rng(5)
    return rng.integers(0, 256, (1, *size, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def b0():
    return _make_net("EfficientNetB0")


@pytest.fixture(scope="module")
def b0_endpoints(b0):
    return _compute_endpoints(b0, _make_image())


@pytest.fixture(scope="module")
def with_classifier():
    net = _make_net("EfficientNetB0", top=True)
    return net, _compute_endpoints(net, _make_image())


@functools.lru_cache(maxsize=1)
def _build_net(variant, **options):
    """Builds our net, or returns the last one."""
    net = EfficientNet(variant, **options)
    net.build((None, None, None, 3))
    return net


def _load(path, variant="b0", **options):
    """Returns our net with the weights of a file, and what it left over."""
    net = _build_net(variant, **options)
    values, unused = keras_files.load_encoder(
        str(path), types.SimpleNamespace(backbone=net)
    )
    assert set(values) == {v.path for v in net.variables}
    for variable in net.variables:
        variable.assign(values[variable.path])
    return net, unused


def _compare(net, expected, size=_SIZE):
    actual = net(_make_image(size) / 127.5 - 1.0, training=False)
    for name, value in expected.items():
        value = np.asarray(value)
        np.testing.assert_allclose(
            actual[name], value, atol=2e-5 * np.abs(value).max(), err_msg=name
        )


def _save_as_keras2(net, path):
    """Writes weights as Keras 2 does, as in the files that are offered."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name for layer in net.layers]
        for layer in net.layers:
            group = file.create_group(layer.name)
            names = []
            for variable in layer.variables:
                leaf = variable.path.rpartition("/")[2]
                if "dwconv" in layer.name:
                    leaf = leaf.replace("kernel", "depthwise_kernel")
                names.append(f"{layer.name}/{leaf}:0")
                group.create_dataset(names[-1], data=variable.numpy())
            group.attrs["weight_names"] = names


def _strip_names(path):
    """Makes a file as older versions of Keras 3 write it."""
    with h5py.File(path, "a") as file:
        removed = []

        def strip(name, item):
            if "name" in item.attrs:
                del item.attrs["name"]
                removed.append(name)

        file.visititems(strip)
        assert removed


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "kind",
    [".weights.h5", ".h5", ".keras", "of Keras 2", "without names"],
)
def test_weights_give_the_outputs_of_keras(b0, b0_endpoints, kind, tmp_path):
    path = tmp_path / "model.weights.h5"
    if kind == "of Keras 2":
        _save_as_keras2(b0, path)
    elif kind in (".weights.h5", "without names"):
        b0.save_weights(path)
        if kind == "without names":
            _strip_names(path)
    else:
        path = tmp_path / f"model{kind}"
        b0.save(path)
    net, unused = _load(path)
    assert unused == []
    _compare(net, b0_endpoints)
    count = net.count_params()
    assert count == b0.count_params() - 1  # Keras counts adapted images


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [".weights.h5", ".h5", "without names"])
def test_the_classifier_and_an_optimizer_are_left_over(
    with_classifier, kind, tmp_path
):
    whole, endpoints = with_classifier
    path = tmp_path / ("model.h5" if kind == ".h5" else "model.weights.h5")
    if kind == ".h5":
        whole.compile(keras.optimizers.SGD(momentum=0.9), "mse")
        whole.optimizer.build(whole.trainable_variables)
        whole.save(path)
    else:
        whole.save_weights(path)
    if kind == "without names":
        _strip_names(path)
    net, unused = _load(path)
    classifier = "dense" if kind == "without names" else "predictions"
    assert unused == [f"{classifier}/bias", f"{classifier}/kernel"]
    _compare(net, endpoints)


def test_without_gates_their_weights_are_left_over(b0, tmp_path):
    b0.save_weights(tmp_path / "b0.weights.h5")
    _, unused = _load(tmp_path / "b0.weights.h5", squeeze_excite=False)
    assert len(unused) == 16 * 4
    assert all("_se_" in name for name in unused)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(1, 8))
def test_every_variant_gives_the_outputs_of_keras(number, tmp_path):
    size = (33, 65)
    theirs = _make_net(f"EfficientNetB{number}", size=size)
    path = tmp_path / "model.weights.h5"
    theirs.save_weights(path)
    expected = _compute_endpoints(theirs, _make_image(size))
    net, unused = _load(path, f"b{number}")
    assert unused == []
    _compare(net, expected, size)
    assert net.count_params() == theirs.count_params() - 1
    path.unlink()
    keras.backend.clear_session()
    _build_net.cache_clear()
    del theirs, net
    gc.collect()


def test_the_input_of_the_offered_files_is_normalised_twice(b0, tmp_path):
    """They hold deviations as variances, and their nets divide once more."""
    normalization = b0.get_layer("normalization")
    before = [v.numpy() for v in normalization.variables]
    try:
        normalization.adapt_mean.assign(_MEAN)
        normalization.adapt_variance.assign(_DEVIATION)
        _save_as_keras2(b0, tmp_path / "offered.h5")
        b0.save(tmp_path / "once.keras")
        normalization.adapt_variance.assign(_DEVIATION**2)
        _save_as_keras2(b0, tmp_path / "plain.h5")
    finally:
        for variable, value in zip(
            normalization.variables, before, strict=True
        ):
            variable.assign(value)
    image = _make_image()
    expected = (image / 255.0 - _MEAN) / _DEVIATION
    for name in ("offered.h5", "plain.h5"):
        net, _ = _load(tmp_path / name)
        actual = net.normalize(image / 127.5 - 1.0)
        np.testing.assert_allclose(actual, expected, atol=1e-5)
    # The config of a whole model says that there is no second division.
    net, _ = _load(tmp_path / "once.keras")
    np.testing.assert_allclose(
        net.normalize(image / 127.5 - 1.0),
        (image / 255.0 - _MEAN) / np.sqrt(_DEVIATION),
        atol=1e-5,
    )


def _make_bad(kind, b0, folder):
    path = folder / "model.weights.h5"
    match kind:
        case "absent":
            return path
        case "garbage":
            path.write_bytes(b"no weights" * 100)
        case "truncated":
            b0.save_weights(path)
            data = path.read_bytes()
            path.write_bytes(data[: len(data) // 2])
        case "truncated archive" | "archive without weights":
            path = folder / "model.keras"
            b0.save(path)
            data = path.read_bytes()
            path.write_bytes(data[: len(data) // 2])
            if kind == "archive without weights":
                with zipfile.ZipFile(path, "w") as archive:
                    archive.writestr("config.json", "{}")
        case "other net":
            net = keras.Sequential([keras.layers.Conv2D(2, 3, name="conv")])
            net.build((None, 9, 9, 3))
            net.save_weights(path)
        case "two nets":
            with h5py.File(path, "w") as file:
                for name in ("a", "b"):
                    file.create_dataset(f"{name}/stem_conv/kernel", data=[1.0])
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("absent", "does not exist"),
        ("garbage", "is damaged or of another kind"),
        ("truncated", "is damaged or of another kind"),
        ("truncated archive", "is damaged or of another kind"),
        ("archive without weights", "is damaged or of another kind"),
        ("other net", "is not of an EfficientNet"),
        ("two nets", "holds several layers called stem_conv"),
    ],
)
def test_bad_files_are_one_sentence(b0, kind, message, tmp_path):
    path = _make_bad(kind, b0, tmp_path)
    with pytest.raises(errors.CheckpointError, match=message) as info:
        _load(path)
    assert "\n" not in str(info.value)
    assert str(path) in str(info.value)


@pytest.mark.parametrize("names", ["own names", "without names"])
def test_another_variant_is_refused(b0, names, tmp_path):
    """B1 has all layers of B0 in the same shapes, and more."""
    path = tmp_path / "b0.weights.h5"
    b0.save_weights(path)
    if names == "without names":
        _strip_names(path)
        message = "layers of the kind"
    else:
        message = "is of another variant"
    with h5py.File(path, "a") as file:
        layer = file.create_group("layers/conv2d_99")
        layer.create_dataset("vars/0", data=np.zeros((1, 1, 16, 16)))
        if names == "own names":
            layer.attrs["name"] = "block1b_project_conv"
    with pytest.raises(errors.CheckpointError, match=message):
        _load(path)


def test_encoders_that_keras_does_not_have_are_refused():
    model = types.SimpleNamespace(backbone=max_deeplab_l_backbone())
    message = "there is no table of names for MaXDeepLabL"
    with pytest.raises(errors.CheckpointError, match=message):
        keras_files.load_encoder("net.weights.h5", model)


def test_an_efficientnet_is_refused_by_other_encoders(b0, tmp_path):
    net = MobileNetV3("small", graph="keras")
    net.build((None, None, None, 3))
    path = tmp_path / "b0.weights.h5"
    b0.save_weights(path)
    with pytest.raises(
        errors.CheckpointError, match="no known network"
    ) as info:
        keras_files.load_encoder(str(path), types.SimpleNamespace(backbone=net))
    assert "\n" not in str(info.value)


@pytest.fixture
def config(tiny_run):
    """The tiny config with another encoder."""
    return run_config.load_checked(
        str(tiny_run),
        [
            "model_options { backbone { name: 'efficientnet_b0' } "
            "decoder { atrous_rates: [2, 4, 6] } }"
        ],
    )


@pytest.mark.slow
def test_a_model_starts_from_a_file_and_from_what_it_was_converted_to(
    b0, config, tmp_path
):
    path = tmp_path / "b0.weights.h5"
    b0.save_weights(path)
    options = config.options.model_options
    system, model = conversion._build(config)
    groups = system.variable_groups(model)
    others = [v for v in model.variables if "/backbone/" not in v.path]
    before = [v.numpy() for v in others]
    options.initial_checkpoint = str(path)
    report = initialization.initialize(options, system, model)
    encoder = {
        v.path
        for v in groups["backbone"]
        if not v.path.endswith("seed_generator_state")
    }
    assert set(report.loaded) == encoder
    for variable, value in zip(others, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    done = conversion.convert(config, str(path), f"{tmp_path}/own/")
    values = checkpoint_files.read_checkpoint(done.prefix)
    for variable in groups["backbone"]:
        if variable.path in encoder:
            np.testing.assert_array_equal(
                values[f"variables/{variable.path}"], variable
            )
            variable.assign(variable * 0.0)
    options.initial_checkpoint = done.prefix
    again = initialization.initialize(options, system, model)
    assert set(again.loaded) == encoder
    with pytest.raises(errors.CheckpointError, match="deeplab2 has no var"):
        conversion.convert(
            config, str(path), f"{tmp_path}/theirs/", layout="deeplab2"
        )


@pytest.mark.slow
def test_deeplab2_has_no_such_encoder(tiny_run, config, tmp_path):
    theirs = conversion.convert(
        run_config.load_checked(str(tiny_run)),
        str(tiny_run),
        f"{tmp_path}/ckpt-1",
        layout="deeplab2",
    )
    with pytest.raises(errors.CheckpointError, match="no encoder like") as info:
        conversion.convert(config, theirs.prefix, f"{tmp_path}/own/")
    assert "\n" not in str(info.value)
