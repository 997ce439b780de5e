# SPDX-License-Identifier: Apache-2.0
"""From published data sets, as their archives unpack, to records.

In reading order: `items` is what each data set offers, `labels` and `folders`
are what their modules have in common, `cityscapes`, `coco`, `ade20k`, `vistas`,
`step` and `bdd100k` read them, `sets` lists them, `pool` loads images in
processes, `shards` writes records so that a killed call goes on, `manifest`
notes what was written, and `preparing` does all of it for deeplab2-prepare.
"""
