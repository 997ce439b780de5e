# SPDX-License-Identifier: Apache-2.0
import threading

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.naive_student import replicas

_DEVICES = ["/device:CPU:0", "/device:CPU:0", "/device:CPU:0"]
_PROGRAM = """
import sys
import numpy as np
from deeplab2_like.config import run_config
from deeplab2_like.naive_student import labeller, replicas
from deeplab2_like.scenes import scene
folder = "FOLDER"
config = run_config.load_checked(folder)
made = replicas.load(lambda: labeller.LiveLabeller(config.options, folder))
where = [{v.value.device for v in copy._network.variables}
         for copy in made._copies]
images = [scene.make_scene(seed, (65, 129)).image for seed in range(4)]
labels = [made.label(image) for image in images]
print(json.dumps({
    "devices": replicas.list_devices(),
    "where": [sorted(one) for one in where],
    "calls": [copy._num_calls for copy in made._copies],
    "labels": [one.panoptic.tolist() for one in labels],
}))
"""


def test_all_copies_label_at_once(fake_labellers):
    barrier = threading.Barrier(3)

    class Meeting(fake_labellers.FakeLabeller):
        """Labels only when as many others do at the same time."""

        def _label(self, pixels_hw3):
            barrier.wait(timeout=30)
            return super()._label(pixels_hw3)

    made = replicas.ReplicatedLabeller(Meeting, _DEVICES)
    assert made.num_replicas == 3
    images = [np.full((4, 6, 3), 80 * i, np.uint8) for i in range(3)]
    found = [None] * 3

    def label(index):
        found[index] = made.label(images[index])

    threads = [threading.Thread(target=label, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    plain = fake_labellers.FakeLabeller()
    for image, labels in zip(images, found, strict=True):
        expected = plain.label(image)
        np.testing.assert_array_equal(labels.panoptic, expected.panoptic)


def test_a_copy_that_fails_is_used_again(fake_labellers):
    class Failing(fake_labellers.FakeLabeller):
        def _label(self, _):
            raise errors.DataError("Too large.")

    made = replicas.ReplicatedLabeller(Failing, _DEVICES[:2])
    for _ in range(5):
        with pytest.raises(errors.DataError, match=r"Too large\."):
            made.label(np.zeros((4, 6, 3), np.uint8))


def test_one_device_needs_no_copies(fake):
    assert len(replicas.list_devices()) == 1
    assert replicas.load(lambda: fake) is fake


def test_two_devices_label_as_one(tiny_run, run_on_two_devices):
    from deeplab2_like.config import run_config
    from deeplab2_like.naive_student import labeller
    from deeplab2_like.scenes import scene

    found = run_on_two_devices(_PROGRAM.replace("FOLDER", str(tiny_run)))
    assert len(found["devices"]) == 2
    # Each copy's weights are on its own device.
    for device, where in zip(found["devices"], found["where"], strict=True):
        assert [name.endswith(device) for name in where] == [True]
    assert found["calls"] == [2, 2]
    config = run_config.load_checked(str(tiny_run))
    made = labeller.LiveLabeller(config.options, str(tiny_run))
    for seed, panoptic in enumerate(found["labels"]):
        expected = made.label(scene.make_scene(seed, (65, 129)).image)
        np.testing.assert_array_equal(panoptic, expected.panoptic)
