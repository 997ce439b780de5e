# SPDX-License-Identifier: Apache-2.0
"""Panoptic segmentation models for TensorFlow and Keras.

Importing this package is cheap: it loads neither TensorFlow nor Keras. The
parts are modules of their own, see docs/architecture.md.
"""

__version__ = "0.1.0"
