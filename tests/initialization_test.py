# SPDX-License-Identifier: Apache-2.0
import pathlib
import zlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import (
    checkpoint_source,
    checkpoint_writing,
    errors,
    initialization,
    object_graph,
    run_config,
)
from deeplab2_like.data import descriptor
from deeplab2_like.meta_architectures import build
from deeplab2_like.model import build as model_build
from deeplab2_like.protos import model_pb2

_SEMANTIC_FIELD = "restore_semantic_last_layer_from_initial_checkpoint"
_INSTANCE_FIELD = "restore_instance_last_layer_from_initial_checkpoint"
_LAST = "panoptic_deeplab/semantic_head/last"


def _make_model():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(3, name="first"),
            keras.layers.Dense(2, name="second"),
        ]
    )
    for variable in model.variables:
        variable.assign(tf.zeros_like(variable.value))
    return model


def _write(folder, model, **groups):
    """Writes a checkpoint with the given value in each group's variables."""
    items = {
        name: {
            v.path: tf.Variable(tf.fill(v.shape, value))
            for v in model.variables
            if not v.path.endswith(skipped)
        }
        for name, (value, skipped) in groups.items()
    }
    checkpoint = tf.train.Checkpoint(
        global_step=tf.Variable(30, dtype=tf.int64), **items
    )
    return checkpoint.write(str(folder / "ckpt-30"))


def _values(model):
    return {float(x) for v in model.variables for x in np.ravel(v)}


def test_all_variables_are_restored_with_the_step(tmp_path):
    model = _make_model()
    prefix = _write(tmp_path, model, variables=(1.0, "nothing"))
    assert initialization.restore_all(prefix, model) == 30
    assert _values(model) == {1.0}


def test_averaged_weights_win_where_there_are_any(tmp_path):
    model = _make_model()
    prefix = _write(
        tmp_path,
        model,
        variables=(1.0, "nothing"),
        average=(2.0, "first/bias"),
        optimizer=(3.0, "nothing"),
    )
    initialization.restore_all(prefix, model)
    assert _values(model) == {1.0, 2.0}
    np.testing.assert_array_equal(model.get_layer("first").bias, [1.0] * 3)


def test_a_missing_variable_is_an_error_and_nothing_changes(tmp_path):
    model = _make_model()
    prefix = _write(tmp_path, model, variables=(1.0, "second/kernel"))
    with pytest.raises(errors.CheckpointError, match="second/kernel: not in"):
        initialization.restore_all(prefix, model)
    assert _values(model) == {0.0}


class _Tiny:
    """A small Panoptic-DeepLab and checkpoints of deeplab2 for it."""

    def __init__(self, run):
        options = run_config.load_checked(str(run)).options
        self.options = options.model_options
        self.system = build.build_system(options, descriptor.load("scenes"))
        self.model = self.system.build_model(synchronize_batch_norm=False)
        self._initial = {v.path: v.numpy() for v in self.model.variables}

    def reset(self):
        for variable in self.model.variables:
            variable.assign(self._initial[variable.path])

    def changed(self):
        """Paths of the variables that have no longer their initial values."""
        return {
            v.path
            for v in self.model.variables
            if v.numpy().tobytes() != self._initial[v.path].tobytes()
        }

    def expected(self, classes=None):
        """A value for each variable, by its path."""
        values = {}
        for variable in checkpoint_source.matched_variables(self.model):
            shape = list(variable.shape)
            if classes and variable.path.startswith(_LAST):
                shape[-1] = classes
            rng = np.random.default_rng(zlib.crc32(variable.path.encode()))
            values[variable.path] = rng.uniform(1.0, 2.0, shape).astype("f4")
        return values

    def deeplab2_values(self, classes=None):
        return {
            checkpoint_source.deeplab2_path(path): value
            for path, value in self.expected(classes).items()
        }

    def initialize(self, path, **fields):
        options = model_pb2.ModelOptions()
        options.CopyFrom(self.options)
        options.initial_checkpoint = str(path)
        for name, value in fields.items():
            setattr(options, name, value)
        return initialization.initialize(options, self.system, self.model)

    def backbone_paths(self):
        return {
            v.path
            for v in self.model.backbone.variables
            if not v.path.endswith("seed_generator_state")
        }


@pytest.fixture(scope="module")
def _built(tiny_run):
    return _Tiny(tiny_run)


@pytest.fixture
def tiny(_built):
    _built.reset()
    return _built


def _save(prefix, values):
    named = {tuple(path.split("/")): value for path, value in values.items()}
    named[("global_step",)] = np.int64(60000)
    checkpoint_writing.write_checkpoint(str(prefix), named)
    return prefix


def _follow(root, path):
    for name in path.split("/"):
        root = getattr(root, name)
    return root


def _check_loaded(tiny, report, paths=None):
    expected = tiny.expected()
    paths = set(expected) if paths is None else paths
    assert set(report.loaded) == paths
    assert tiny.changed() == paths
    for variable in tiny.model.variables:
        if variable.path in paths:
            np.testing.assert_array_equal(
                variable.numpy(), expected[variable.path], variable.path
            )


@pytest.mark.parametrize(
    "name",
    [".", "ckpt-60000", "ckpt-60000.index", "ckpt-60000.data-00000-of-00001"],
)
def test_a_checkpoint_of_deeplab2_starts_all(tiny, tmp_path, name):
    _save(tmp_path / "ckpt-60000", tiny.deeplab2_values())
    report = tiny.initialize(tmp_path / name)
    _check_loaded(tiny, report)
    assert report.unused == report.missing == []
    assert report.skipped == report.mismatched == {}
    assert initialization.restore_all(str(tmp_path / name), tiny.model) == 60000


def test_the_only_checkpoint_of_a_folder_is_taken(tiny, tmp_path):
    _save(tmp_path / "resnet50", tiny.deeplab2_values())
    _check_loaded(tiny, tiny.initialize(tmp_path))
    _save(tmp_path / "resnet101", tiny.deeplab2_values())
    with pytest.raises(errors.CheckpointError, match="resnet101, resnet50"):
        tiny.initialize(tmp_path)


def test_optimizers_and_their_slots_are_passed_over(tiny, tmp_path):
    keras2 = pytest.importorskip("tf_keras")
    values = tiny.deeplab2_values()
    root = object_graph.make_checkpoint(
        {tuple(path.split("/")): value for path, value in values.items()}
    )
    variables = [_follow(root, path) for path in values]
    step = tf.Variable(60000, dtype=tf.int64)
    root.optimizer = keras2.optimizers.legacy.Adam(0.0)
    root.backbone_optimizer = keras2.optimizers.Adam(0.0)
    root.optimizer.iterations = step
    for optimizer in (root.optimizer, root.backbone_optimizer):
        chosen = [v for v in variables if v.shape.rank == 4][:20]
        optimizer.apply_gradients([(tf.zeros_like(v), v) for v in chosen])
    root.global_step = step
    prefix = root.save(str(tmp_path / "ckpt"))
    keys = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
    assert any("/.OPTIMIZER_SLOT/optimizer/m" in key for key in keys)
    assert any(key.startswith("backbone_optimizer/_var") for key in keys)
    report = tiny.initialize(prefix)
    _check_loaded(tiny, report)
    assert report.unused == []
    assert len(report.bookkeeping) == len(keys) - len(values)


def test_variables_are_found_by_the_graph_and_not_by_their_keys(tiny, tmp_path):
    values = tiny.deeplab2_values()
    root = object_graph.make_checkpoint(
        {tuple(path.split("/")): value for path, value in values.items()}
    )
    encoder = [path for path in values if path.startswith("encoder/")]
    root.a = tf.Module()
    root.a.list = [_follow(root, path) for path in encoder]
    prefix = root.write(str(tmp_path / "ckpt"))
    keys = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
    assert any(key.startswith("a/list/") for key in keys)
    report = tiny.initialize(prefix)
    _check_loaded(tiny, report)
    assert report.unused == []


def test_of_a_model_garden_checkpoint_only_the_encoder_is_read(tiny, tmp_path):
    values = {
        path.replace("encoder/", "backbone/_encoder/"): value
        for path, value in tiny.deeplab2_values().items()
        if path.startswith("encoder/")
    }
    values["head/dense/kernel"] = np.ones([2, 3], np.float32)
    _save(tmp_path / "ckpt-1", values)
    report = tiny.initialize(tmp_path / "ckpt-1")
    _check_loaded(tiny, report, tiny.backbone_paths())
    assert report.unused == ["head/dense/kernel"]
    assert set(report.skipped.values()) == {
        "the checkpoint has only an encoder for this model"
    }
    with pytest.raises(errors.CheckpointError, match="has only an encoder"):
        initialization.restore_all(str(tmp_path / "ckpt-1"), tiny.model)


@pytest.mark.parametrize("layout", ["deeplab2", "own", "other system"])
def test_an_encoder_alone_starts_the_encoder(tiny, tmp_path, layout):
    if layout == "deeplab2":
        values = {
            ("/".join(path.split("/")),): value
            for path, value in tiny.deeplab2_values().items()
        }
        values = {
            tuple(path.split("/")): value
            for (path,), value in values.items()
            if path.startswith("encoder/")
        }
    else:
        root = "deeplab_v3" if layout == "other system" else "panoptic_deeplab"
        values = {
            ("variables", path.replace("panoptic_deeplab", root)): value
            for path, value in tiny.expected().items()
            if path in tiny.backbone_paths()
        }
    checkpoint_writing.write_checkpoint(str(tmp_path / "ckpt-1"), values)
    report = tiny.initialize(tmp_path)
    _check_loaded(tiny, report, tiny.backbone_paths())
    assert report.missing == report.unused == []
    drawn = report.table()
    assert "only an encoder" in str(list(drawn.columns[0].cells))


@pytest.fixture(scope="module")
def other_system(tiny_run):
    """DeepLabV3 on the same encoder."""
    override = (
        "model_options { deeplab_v3 {} } trainer_options { loss_options { "
        "semantic_loss { name: 'softmax_cross_entropy' } } }"
    )
    options = run_config.load_checked(str(tiny_run), [override]).options
    system = build.build_system(options, descriptor.load("scenes"))
    model = system.build_model(synchronize_batch_norm=False)
    return options.model_options, system, model


@pytest.mark.parametrize("layout", ["deeplab2", "own"])
def test_another_system_takes_the_encoder(tiny, other_system, tmp_path, layout):
    """Parts of equal names mean other things, whatever their shapes."""
    options, system, model = other_system
    if layout == "deeplab2":
        _save(tmp_path / "ckpt-1", tiny.deeplab2_values())
    else:
        checkpoint_writing.write_checkpoint(
            str(tmp_path / "ckpt-1"),
            {("variables", p): v for p, v in tiny.expected().items()},
        )
    options.initial_checkpoint = str(tmp_path)
    report = initialization.initialize(options, system, model)
    assert set(report.loaded) == {
        path.replace("panoptic_deeplab", "deeplab_v3")
        for path in tiny.backbone_paths()
    }
    assert report.missing == []
    assert report.skipped
    assert report.unused
    with pytest.raises(errors.CheckpointError, match="not in the checkpoint"):
        initialization.restore_all(str(tmp_path / "ckpt-1"), model)


def test_an_incomplete_encoder_is_an_error(tiny, tmp_path):
    values = {
        path: value
        for path, value in tiny.deeplab2_values().items()
        if path.startswith("encoder/")
    }
    del values["encoder/_blocks/0/_conv/kernel"]
    _save(tmp_path / "ckpt-1", values)
    with pytest.raises(errors.CheckpointError, match="block0/conv/kernel: not"):
        tiny.initialize(tmp_path)
    assert tiny.changed() == set()


def test_a_missing_key_is_named_and_nothing_changes(tiny, tmp_path):
    values = tiny.deeplab2_values()
    del values["semantic_decoder/_aspp/_conv_bn_act/_conv/kernel"]
    _save(tmp_path / "ckpt-1", values)
    with pytest.raises(
        errors.CheckpointError,
        match="semantic_decoder/aspp/conv1x1/conv/kernel: not in the",
    ):
        tiny.initialize(tmp_path)
    assert tiny.changed() == set()


def test_an_extra_key_is_reported(tiny, tmp_path):
    values = tiny.deeplab2_values()
    values["depth_head/_conv/kernel"] = np.ones([1], np.float32)
    _save(tmp_path / "ckpt-1", values)
    report = tiny.initialize(tmp_path)
    _check_loaded(tiny, report)
    assert report.unused == ["depth_head/_conv/kernel"]


def test_another_shape_is_named_and_nothing_changes(tiny, tmp_path):
    values = tiny.deeplab2_values()
    key = "encoder/_blocks/0/_conv/kernel"
    values[key] = values[key][..., :-1]
    _save(tmp_path / "ckpt-1", values)
    with pytest.raises(errors.CheckpointError) as info:
        tiny.initialize(tmp_path)
    assert (
        "backbone/block0/conv/kernel: (3, 3, 3, 15) in the checkpoint, "
        "(3, 3, 3, 16) in the model" in str(info.value)
    )
    assert _SEMANTIC_FIELD not in str(info.value)
    assert tiny.changed() == set()


def test_another_number_of_classes_needs_a_field(tiny, tmp_path):
    _save(tmp_path / "ckpt-1", tiny.deeplab2_values(classes=19))
    with pytest.raises(errors.CheckpointError) as info:
        tiny.initialize(tmp_path)
    assert "(1, 1, 16, 19) in the checkpoint" in str(info.value)
    assert f"model_options.{_SEMANTIC_FIELD}: false" in str(info.value)
    assert tiny.changed() == set()
    report = tiny.initialize(tmp_path, **{_SEMANTIC_FIELD: False})
    last = {f"{_LAST}/kernel", f"{_LAST}/bias"}
    assert set(report.skipped) == last
    assert (
        f"{_SEMANTIC_FIELD} is false ((19,) in the checkpoint"
        in report.skipped[f"{_LAST}/bias"]
    )
    _check_loaded(tiny, report, set(tiny.expected()) - last)


def test_last_layers_are_left_out_as_the_config_says(tiny, tmp_path):
    _save(tmp_path / "ckpt-1", tiny.deeplab2_values())
    report = tiny.initialize(tmp_path, **{_INSTANCE_FIELD: False})
    heads = {
        f"panoptic_deeplab/{head}/last/{leaf}"
        for head in ("center_head", "offset_head")
        for leaf in ("kernel", "bias")
    }
    assert report.skipped == dict.fromkeys(heads, f"{_INSTANCE_FIELD} is false")
    _check_loaded(tiny, report, set(tiny.expected()) - heads)


def test_another_encoder_is_named(tiny, tmp_path):
    _save(tmp_path / "ckpt-1", tiny.deeplab2_values())
    options = model_pb2.ModelOptions()
    options.CopyFrom(tiny.options)
    options.backbone.name = "mobilenet_v3_large"
    other = model_build.build_model(
        options, num_classes=3, train_crop_size=(65, 65)
    )
    with pytest.raises(errors.CheckpointError, match="does not fit the model"):
        initialization.restore_all(str(tmp_path / "ckpt-1"), other)


def _truncate(file, share):
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])


def _make_tensorflow1(folder, version):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.get_variable("conv1/weights", [3, 3])
        session.run(tf.compat.v1.global_variables_initializer())
        saver = tf.compat.v1.train.Saver(write_version=version)
        saver.save(session, str(folder / "model.ckpt"), global_step=7)


def _make_bad(kind, folder, values):
    """Makes something that is no checkpoint for the model; gives its path."""
    prefix = folder / "ckpt-1"
    saver = tf.compat.v1.train.SaverDef
    match kind:
        case "truncated data" | "cut in the middle" | "truncated index":
            _save(prefix, values)
            ending = ".index" if "index" in kind else ".data-00000-of-00001"
            share = 0.5 if "middle" in kind or "index" in kind else 0.999
            _truncate(pathlib.Path(f"{prefix}{ending}"), share)
        case "empty index":
            _save(prefix, values)
            pathlib.Path(f"{prefix}.index").write_bytes(b"")
        case "no data":
            _save(prefix, values)
            pathlib.Path(f"{prefix}.data-00000-of-00001").unlink()
        case "data without index":
            _save(prefix, values)
            pathlib.Path(f"{prefix}.index").unlink()
            return f"{prefix}.data-00000-of-00001"
        case "empty folder":
            return folder
        case "nothing":
            return folder / "nothing"
        case "text":
            prefix.write_text("hello")
        case "TensorFlow 1":
            _make_tensorflow1(folder, saver.V2)
            return folder
        case "old TensorFlow 1":
            _make_tensorflow1(folder, saver.V1)
            return folder / "model.ckpt-7"
        case "SavedModel":
            tf.saved_model.save(tf.Module(), str(folder / "saved"))
            return folder / "saved"
        case "SavedModel's variables":
            module = tf.Module()
            module.kernel = tf.Variable([1.0])
            tf.saved_model.save(module, str(folder / "saved"))
            return folder / "saved/variables"
        case "other objects":
            _save(prefix, {"net/kernel": np.ones([2], np.float32)})
        case ending:
            path = folder / f"model{ending}"
            model = _make_model()
            if ending == ".weights.h5":
                model.save_weights(path)
            else:
                model.save(path)
            return path
    return prefix


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("truncated data", "is damaged or incomplete"),
        ("cut in the middle", "is damaged or incomplete"),
        ("truncated index", "is damaged or incomplete"),
        ("empty index", "is damaged or incomplete"),
        ("no data", "is damaged or incomplete"),
        ("data without index", "is no part of a checkpoint"),
        ("empty folder", "holds no checkpoint"),
        ("nothing", "There is no checkpoint"),
        ("text", "is no part of a checkpoint"),
        ("TensorFlow 1", "is a checkpoint of TensorFlow 1"),
        ("old TensorFlow 1", "is a checkpoint of TensorFlow 1"),
        ("SavedModel", "is a SavedModel, not a checkpoint"),
        ("SavedModel's variables", "neither of this package nor of deeplab2"),
        ("other objects", "neither of this package nor of deeplab2"),
        (".h5", "cannot start this encoder"),
        (".weights.h5", "cannot start this encoder"),
        (".keras", "cannot start this encoder"),
    ],
)
def test_what_is_no_checkpoint_is_one_sentence(tiny, tmp_path, kind, message):
    path = _make_bad(kind, tmp_path, tiny.deeplab2_values())
    with pytest.raises(errors.CheckpointError, match=message) as info:
        tiny.initialize(path)
    assert "\n" not in str(info.value)
    assert str(tmp_path) in str(info.value)
    assert tiny.changed() == set()


def test_a_keras_file_is_no_checkpoint_of_a_whole_model(tmp_path):
    path = _make_bad(".keras", tmp_path, {})
    from deeplab2_like import checkpoint_files

    with pytest.raises(errors.CheckpointError, match="only start an encoder"):
        checkpoint_files.find_checkpoint(str(path))
