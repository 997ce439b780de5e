# SPDX-License-Identifier: Apache-2.0
"""Command-line programs: flags, errors, progress and logs."""
