"""Which addresses a request may go to."""

from __future__ import annotations

import pytest

from greenroom.httpclient import AddressRefusedError, HttpError, Reach, is_allowed, reachable

pytestmark = pytest.mark.unit

PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808"]
LOOPBACK = ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"]
PRIVATE = [
    *("10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "240.0.0.1"),
    *("fe80::1", "fd00::1", "::", "ff02::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "::a00:1", "2002:a00:1::1"),
]


@pytest.mark.parametrize("address", PUBLIC)
@pytest.mark.parametrize("reach", Reach)
def test_public_addresses_are_within_every_reach(address, reach):
    assert is_allowed(address, reach)


@pytest.mark.parametrize("address", LOOPBACK)
def test_loopback_is_for_those_who_may(address):
    assert not is_allowed(address, Reach.PUBLIC)
    assert is_allowed(address, Reach.PUBLIC_AND_LOOPBACK)
    assert is_allowed(address, Reach.ANYWHERE)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_and_what_hides_them_need_to_be_allowed(address):
    assert not is_allowed(address, Reach.PUBLIC)
    assert not is_allowed(address, Reach.PUBLIC_AND_LOOPBACK)
    assert is_allowed(address, Reach.ANYWHERE)


async def test_a_host_without_an_address_in_reach_is_refused():
    with pytest.raises(AddressRefusedError, match="private network"):
        await reachable("localhost", 80, Reach.PUBLIC)
    assert ("127.0.0.1" in [address for _, address in await reachable("localhost", 80, Reach.ANYWHERE)]) is True


async def test_a_name_that_cannot_be_resolved_says_so():
    with pytest.raises(HttpError, match=r"'nowhere\.invalid' has no address"):
        await reachable("nowhere.invalid", 80, Reach.ANYWHERE)
