# SPDX-License-Identifier: Apache-2.0
"""What is chosen for one system alone: network, losses, post-processing."""
