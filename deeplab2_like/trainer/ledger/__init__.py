# SPDX-License-Identifier: Apache-2.0
"""What a training run spent its time on: a file of events, and its sums."""
