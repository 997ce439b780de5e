# SPDX-License-Identifier: Apache-2.0
import socket

import pytest

from deeplab2_like.config import network_addresses


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("a:1", ("a", 1)),
        ("a.b-c.example:65535", ("a.b-c.example", 65535)),
        ("[2001:db8::1]:2222", ("2001:db8::1", 2222)),
        ("", None),
        ("a", None),
        ("a:", None),
        (":1", None),
        ("[]:1", None),
        ("a:0", None),
        ("a:65536", None),
        ("a:-1", None),
        ("a:1.5", None),
        ("a:\u0661", None),  # The digit 1 of another script.
    ],
)
def test_an_address_is_a_host_and_a_port(address, place):
    assert network_addresses.split(address) == place


def test_only_an_address_where_something_listens_is_reached():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{server.getsockname()[1]}"
        server.listen()
        network_addresses.connect(address, 30)
    with pytest.raises(ConnectionRefusedError):
        network_addresses.connect(address, 30)
    with pytest.raises(OSError, match="no address"):
        network_addresses.connect("a", 30)
