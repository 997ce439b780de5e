# SPDX-License-Identifier: Apache-2.0
"""Generated code of the schema in protos/; made by `make protos`."""
