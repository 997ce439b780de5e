# SPDX-License-Identifier: Apache-2.0
"""A server of exported models: models and queues, formats, and thin routes."""
