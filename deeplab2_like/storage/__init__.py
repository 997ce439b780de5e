# SPDX-License-Identifier: Apache-2.0
"""Files of runs, exports and images: checked when read, written whole."""
