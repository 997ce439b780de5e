# SPDX-License-Identifier: Apache-2.0
"""The version of this package, which exported models record."""

VERSION = "0.1.0"
