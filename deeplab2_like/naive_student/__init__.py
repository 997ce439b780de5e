# SPDX-License-Identifier: Apache-2.0
"""Pseudo labels of images without labels, and students that learn from them.

In reading order: `unlabeled` (the images), `candidates` (those that can be
labelled), `labeller` (their labels), `selection` and `balancing` (the pixels
that keep theirs), `image_facts`, `labelling` (records of all), `report_files`;
then `stages` and `rounds` (teacher, labels, student, ...). It is above all
other parts: it uses predictions, record shards and the trainer.
"""
