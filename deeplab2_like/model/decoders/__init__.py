# SPDX-License-Identifier: Apache-2.0
"""Decoders from the features of a backbone to those of the heads."""
