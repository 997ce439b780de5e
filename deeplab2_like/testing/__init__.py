# SPDX-License-Identifier: Apache-2.0
"""Test helpers, installed so that users can test their own parts."""
