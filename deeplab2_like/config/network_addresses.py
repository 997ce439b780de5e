# SPDX-License-Identifier: Apache-2.0
"""Addresses of programs in a network, "host:port"."""

import socket

_MOST = 65535


def split(address: str) -> tuple[str, int] | None:
    """Returns host and port of an address; None if it is none.

    Args:
        address: "host:port", or "[2001:db8::1]:port" for a host by its number;
            the host is returned without brackets. Ports are 1 to 65535.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    # `isdecimal` is also true of digits of other scripts.
    if not host or not (port.isascii() and port.isdecimal()):
        return None
    return (host, int(port)) if 0 < int(port) <= _MOST else None


def connect(address: str, seconds: float) -> None:
    """Checks that something listens at an address.

    Args:
        address: One that `split` accepts.
        seconds: How long to wait for it.

    Raises:
        OSError: Nothing was reached.
    """
    place = split(address)
    if place is None:
        raise OSError(f"{address} is no address")
    with socket.create_connection(place, timeout=seconds):
        pass
