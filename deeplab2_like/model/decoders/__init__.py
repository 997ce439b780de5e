# SPDX-License-Identifier: Apache-2.0
"""From the features of a backbone to those that heads take."""
