# SPDX-License-Identifier: Apache-2.0
"""Images of any size in, maps and segments of that size out, in the graph."""
