# SPDX-License-Identifier: Apache-2.0
"""What tests need, installed so that users can test their own parts with it."""
