# SPDX-License-Identifier: Apache-2.0
"""Reports of evaluations and of data: HTML pages that need nothing else.

For both: `tables` (numbers as text, and tables of them), `frame` (head, styles
and script of a page), `installation`. Of an evaluation: `evaluation` (what
metrics.json holds), `report` (what a page shows), `sections`, `calibration`,
`confusion` and `comparison` (tables), `figures` (charts), `page`. Of data:
`data_check` (numbers and what a page shows), `data_tables`, `histograms`
(charts), `data_page`. Neither TensorFlow nor NumPy; `figures`, `histograms`,
`frame` and the pages need Jinja2.
"""
