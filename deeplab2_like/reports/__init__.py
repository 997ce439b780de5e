# SPDX-License-Identifier: Apache-2.0
"""The report of an evaluation: one HTML page that needs nothing else.

Reading order: `evaluation` (what metrics.json holds), `report` (what a page
shows), `tables` (numbers as text, and tables of them); `sections`,
`calibration`, `confusion` and `comparison` (the tables of the page), `figures`
(charts), `page` (the HTML text). Neither TensorFlow nor NumPy; only `figures`
and `page` need Jinja2.
"""
