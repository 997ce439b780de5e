# SPDX-License-Identifier: Apache-2.0
"""Files that are none of a data set or checkpoint: read checked, written whole."""
