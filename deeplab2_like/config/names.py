# SPDX-License-Identifier: Apache-2.0
"""The names that a config may use.

`BACKBONES` are all names of the schema; `rules.backbone` refuses those of
another system.
"""

from collections.abc import Mapping

EFFICIENTNETS = tuple(f"efficientnet_b{number}" for number in range(8))
EFFICIENTNET_LITES = tuple(f"efficientnet_lite{n}" for n in range(5))
BACKBONES = (
    "resnet50",
    "resnet50_beta",
    "resnet101",
    "resnet101_beta",
    "wide_resnet41",
    "swidernet",
    "axial_swidernet",
    "axial_resnet_s",
    "axial_resnet_l",
    "axial_deeplab_s",
    "axial_deeplab_l",
    "max_deeplab_s",
    "max_deeplab_l",
    "max_deeplab_s_backbone",
    "max_deeplab_l_backbone",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    *EFFICIENTNETS,
    *EFFICIENTNET_LITES,
)
# Backbones that exist only with squeeze-and-excite.
MOBILENETS = ("mobilenet_v3_large", "mobilenet_v3_small")
# Of backbones; the first is the default.
GRAPHS = ("deeplab2", "keras", "torchvision", "detectron2")
# The graphs that a backbone has besides the default.
OTHER_GRAPHS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("resnet50", "resnet101"), GRAPHS[1:]),
    **dict.fromkeys(MOBILENETS, ("keras", "torchvision")),
    **dict.fromkeys(EFFICIENTNETS, ("keras",)),
}
# The graphs whose weights were trained with frozen batch norms.
FROZEN_GRAPHS = ("detectron2",)
OUTPUT_STRIDES = (8, 16, 32)
# Systems that average several views of an image.
SYSTEMS_WITH_VIEWS = ("panoptic_deeplab", "deeplab_v3", "deeplab_v3_plus")
# Backbone endpoints, high resolution first.
FEATURE_KEYS = ("res1", "res2", "res3", "res4", "res5")
CONV_TYPES = ("depthwise_separable_conv", "standard_conv")
DROP_PATH_SCHEDULES = ("constant", "linear")
LEARNING_POLICIES = ("poly", "cosine")
OPTIMIZERS = ("adam", "adamw", "sgd")
SEMANTIC_LOSSES = ("softmax_cross_entropy",)
DENSE_LOSSES = ("l1", "mse")
OTHER_LOSSES = (
    "sigmoid_cross_entropy",
    "soft_panoptic_quality",
    "sigmoid_focal",
    "dice",
)
# The number of centers that are kept when a config does not limit them. Times
# and table sizes of the post-processing are in proportion to it.
MAX_CENTERS = 2048
# Of EfficientNet; published weights have the first, those of Lite the last.
ACTIVATIONS = ("swish", "leaky_relu", "relu6")
# Of convolutions with a stride.
PADDINGS = ("symmetric", "same")
# Of Matrix NMS.
DECAYS = ("gaussian", "linear")
COMPUTE_PRECISIONS = ("float32", "bfloat16")
# The largest instance number of each format.
RAW_PANOPTIC_FORMATS = {
    "two_channel_png": 255,
    "three_channel_png": 65535,
    "two_channel_numpy_array": 2**31 - 1,
}
AUTOAUGMENT_POLICIES = (
    "simple_classification_policy",
    "simple_classification_policy_magnitude_scale_0.2",
)
# The members of ModelOptions.meta_architecture that exist.
META_ARCHITECTURES = (
    "deeplab_v3",
    "deeplab_v3_plus",
    "panoptic_deeplab",
    "panoptic_fpn",
    "efficientps",
)

# Layouts of checkpoints that can be written: this package's first.
CHECKPOINT_LAYOUTS = ("deeplab2_like", "deeplab2")

# Models of other libraries that are converted whole.
PEERS = ("panoptic_deeplab", "detectron2_panoptic_fpn")
