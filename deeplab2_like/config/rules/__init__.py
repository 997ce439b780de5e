# SPDX-License-Identifier: Apache-2.0
"""Rules for the fields of a config, a module for each part of it.

Functions that check add what they find to a `report`. They take the `options`
after `validation.complete`, and `datasets`, the descriptors that these name.
"""

from collections.abc import Mapping

from deeplab2_like.protos import dataset_descriptor_pb2

# By name.
Datasets = Mapping[str, dataset_descriptor_pb2.DatasetDescriptor]
