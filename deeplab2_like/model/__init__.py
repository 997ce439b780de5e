# SPDX-License-Identifier: Apache-2.0
"""Networks: layers, backbones, decoders, heads and whole models."""
