# SPDX-License-Identifier: Apache-2.0
"""What images and labels are like before training. No TensorFlow here.

In reading order: `facts` (one image), `collector` (all of them), `duplicates`,
`image_names`, `findings` (what a user should look at), `summary` (the numbers
as `reports.data_check` has them).
"""
