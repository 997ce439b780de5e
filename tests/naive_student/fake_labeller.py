# SPDX-License-Identifier: Apache-2.0
"""A labeller that needs no network, for tests and the programs they start."""

import sys

import numpy as np

from deeplab2_like.labels import descriptor
from deeplab2_like.model.multi_scale import View
from deeplab2_like.naive_student import labeller as labeller_lib
from deeplab2_like.naive_student import labelling_model
from deeplab2_like.predict import models

DATA = descriptor.load("scenes")


class FakeLabeller(labelling_model.SerialLabeller):
    """Labels by the brightness of pixels.

    Attributes:
        calls: Images that were labelled.
        stop_at: Call at which `stop` is called.
    """

    descriptor = DATA
    views = (View(), View(is_mirrored=True))
    has_confidence = True

    def __init__(self):
        super().__init__()
        self.calls, self.stop_at, self.stop = 0, 0, None

    def _label(self, pixels_hw3):
        self.calls += 1
        if self.calls == self.stop_at:
            self.stop()
        level = pixels_hw3[..., 0].astype(np.int32)
        thing, stuff = DATA.thing_ids[0], DATA.stuff_ids[0]
        classes = np.where(level > 127, thing, stuff).astype(np.int32)
        panoptic = classes * DATA.label_divisor + (level > 127)
        confidence = (0.5 + np.abs(level - 127.5) / 255).astype(np.float32)
        views = np.stack([classes, classes])
        views[1, 0] = stuff
        return labelling_model.Labels(
            panoptic.astype(np.int32), confidence, classes, views
        )


def load_facts(path):
    return models.Facts(str(path), DATA, sys.maxsize)


def install(fake, setattr=setattr):
    """Lets every path be that of a model."""
    setattr(labeller_lib, "load", lambda *_: fake)
    setattr(labeller_lib, "check", lambda *_, **__: None)
    setattr(models, "load_facts", load_facts)
    setattr(models, "identify", lambda _: {"path": "", "fingerprint": "fake"})
