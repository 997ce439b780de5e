# SPDX-License-Identifier: Apache-2.0
"""Checks data before training: own labels in any form, and records.

In reading order: `checked` (the result), `own_data`, `headers` and
`record_data` (where it comes from), `processes`, `samples` (pictures),
`printing` and `writing`. The command is deeplab2-check-data.
"""
