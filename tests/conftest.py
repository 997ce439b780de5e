# SPDX-License-Identifier: Apache-2.0
"""Settings of the whole test run, and what tests of several parts need.

A tiny model folder and its export, modes to run functions in, and programs on
two devices.
"""

import gc
import html.parser
import json
import os
import subprocess
import sys

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
if "PYTEST_XDIST_WORKER" in os.environ:
    # The processes of a run share the cores; threads would wait for each other.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")


def pytest_addoption(parser):
    parser.addoption(
        "--reference-complete",
        action="store_true",
        dest="reference_complete",
        help="fail when a golden case is not compared in full",
    )


def pytest_sessionstart():
    """Collects garbage between modules: tracing makes much, and keeps it."""
    gc.disable()


def pytest_runtest_teardown(item, nextitem):
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()  # What is left is not looked at again.


_MODEL = """
model_options {
  backbone {
    name: "mobilenet_v3_small"
    use_squeeze_and_excite: true
    output_stride: STRIDE
  }
  decoder {
    feature_key: "res5"
    decoder_channels: 16
    aspp_channels: 16
    atrous_rates: RATES
  }
  panoptic_deeplab {
    low_level { feature_key: "res3" channels_project: 8 }
    low_level { feature_key: "res2" channels_project: 8 }
    instance {
      center_head { head_channels: 8 }
      regression_head { head_channels: 8 }
    }
    semantic_head { head_channels: 16 }
  }
}
"""
_TINY_OPTIONS = """\
trainer_options {
  loss_options {
    semantic_loss { name: "softmax_cross_entropy" }
    center_loss { name: "mse" }
    regression_loss { name: "l1" }
  }
}
train_dataset_options { dataset: "scenes" crop_size: [65, 129] }
eval_dataset_options { dataset: "scenes" crop_size: [65, 129] }
evaluator_options { nms_kernel: 7 keep_k_centers: 20 }
"""

_TWO_DEVICES = """
import json
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
"""


@pytest.fixture(scope="session")
def write_config():
    """Returns a function that writes a config with a tiny network."""

    def write(name, stride, rates, options):
        model = _MODEL.replace("STRIDE", str(stride))
        return f'\nexperiment_name: "{name}"' + (
            model.replace("RATES", str(rates)) + options
        )

    return write


@pytest.fixture(params=["eager", "graph", "xla"])
def run_in(request):
    """Returns a decorator to run a function eagerly, as a graph, or in XLA."""
    import tensorflow as tf

    if request.param == "eager":
        return lambda function: function
    return lambda function: tf.function(
        function, jit_compile=request.param == "xla", autograph=False
    )


@pytest.fixture(scope="session")
def run_on_two_devices():
    """Returns a function that runs a program where there are two CPU devices.

    It returns what the program prints last, as JSON.
    """

    def run(program):
        out = subprocess.run(
            [sys.executable, "-c", _TWO_DEVICES + program],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        return json.loads(out.strip().splitlines()[-1])

    return run


def _make_lively(model):
    """Changes weights so that classes, centers and offsets vary."""
    import keras
    import numpy as np

    from deeplab2_like.model.layers.batch_norm import BatchNorm
    from deeplab2_like.scenes import scene

    images = [scene.make_scene(seed, (65, 129)).image for seed in range(4)]
    for layer in model._flatten_layers():
        if isinstance(layer, BatchNorm):
            layer.momentum = 0.0
    model(np.stack(images), training=True)
    for head in (model.semantic_head, model.center_head, model.offset_head):
        kernel = head.last_layer.kernel
        kernel.assign(-keras.random.normal(kernel.shape, stddev=0.5, seed=2))


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory, write_config):
    """Returns a model folder with a checkpoint of random weights."""
    import keras
    import tensorflow as tf

    from deeplab2_like import config as config_lib
    from deeplab2_like.labels import descriptor
    from deeplab2_like.meta_architectures import build
    from deeplab2_like.trainer import checkpoint_manager

    folder = tmp_path_factory.mktemp("runs") / "tiny"
    folder.mkdir()
    text = write_config("tiny", 16, [3, 6, 9], _TINY_OPTIONS)
    config = config_lib.parse(text)
    (folder / "config.textproto").write_text(config.text)
    keras.utils.set_random_seed(1)
    system = build.build_system(config.options, descriptor.load("scenes"))
    model = system.build_model(synchronize_batch_norm=False)
    _make_lively(model)
    manager = checkpoint_manager.make_manager(
        str(folder),
        {"variables": {v.path: v.value for v in model.variables}},
        tf.Variable(7, dtype=tf.int64),
        checkpoint_manager.SaveOptions(keep=1, interval_steps=1),
    )
    manager.save(checkpoint_number=7)
    return folder


@pytest.fixture(scope="session")
def exported(tiny_run, tmp_path_factory):
    """Returns the SavedModel of `tiny_run`, with one canvas for all images."""
    from deeplab2_like.exports import saved_model, xla_off

    out = tmp_path_factory.mktemp("exported") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        # Another process would import TensorFlow; xla_off_test.py runs it.
        patch.setattr(xla_off, "predict", lambda *_: None)
        options = saved_model.ExportOptions(has_tile_function=True)
        saved_model.export(str(tiny_run), str(out), options)
    return out


# Elements of HTML that have no end; `rect` and `line` end where they begin.
_VOID = ("meta", "link", "img", "input")


class Page(html.parser.HTMLParser):
    """The elements of a page.

    Attributes:
        elements: Tag and attributes of each start tag.
        tables: Rows of cells, as texts, by the id of the table; without the
            row of titles.
        texts: Text of each element of `style`, `script` and `title` by tag.
        open: Tags that were not closed, or closed out of order.
    """

    def __init__(self, text):
        super().__init__()
        self.elements, self.tables, self.texts, self.open = [], {}, {}, []
        self._table = self._cell = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)
        if tag == "table":
            self._table = self.tables.setdefault(dict(attrs)["id"], [])
        elif tag == "tr" and self._table is not None:
            self._table.append([])
        elif tag in ("td", "th"):
            self._cell = ""

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag in ("td", "th"):
            self._table[-1].append(self._cell.strip())
            self._cell = None
        elif tag == "table":
            del self._table[0]
            self._table = None

    def handle_data(self, data):
        if self._cell is not None:
            self._cell += data
        if self.open and self.open[-1] in ("style", "script", "title"):
            self.texts.setdefault(self.open[-1], []).append(data)


@pytest.fixture
def read_page():
    """Returns a function from the text of a page to a `Page`."""
    return Page
