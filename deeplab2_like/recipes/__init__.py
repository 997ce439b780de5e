# SPDX-License-Identifier: Apache-2.0
"""From a user's own data to records and a config that trains on them.

In reading order: `forms` recognizes what a folder holds, `splitting` sets
images aside for evaluation, `survey` measures the images and labels, `machine`
the machine, `choices` decides every field of the config with its reason, and
`config_text` writes it. `making` does all of it; the command is deeplab2-new.
"""
