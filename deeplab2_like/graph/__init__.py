# SPDX-License-Identifier: Apache-2.0
"""What runs inside of TensorFlow graphs, whatever it computes."""
