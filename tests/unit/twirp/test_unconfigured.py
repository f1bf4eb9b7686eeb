"""Egress, ingress and SIP: the permission first, then that there is no backend."""

from __future__ import annotations

from types import ModuleType

import pytest
from livekit.protocol import egress, ingress, sip

from greenroom.config import ApiKey
from greenroom.grants import SipGrant, VideoGrant, mint, verify
from greenroom.server.twirp import Call, TwirpError, unconfigured_services

pytestmark = pytest.mark.unit

KEY = ApiKey(key="APIkey", secret="a secret of more than thirty-two bytes")
SERVICES = {service.name: service for service in unconfigured_services()}
METHODS = [(service.name, name) for service in SERVICES.values() for name in service.methods]


def caller(video: VideoGrant | None = None, sip_grant: SipGrant | None = None) -> Call:
    return Call(verify(mint(KEY, video=video, sip=sip_grant), (KEY,)))


async def refusal(service: str, name: str, call: Call) -> tuple[str, str]:
    method = SERVICES[service].methods[name]
    with pytest.raises(TwirpError) as caught:
        await method.handler(call, method.request_type(**({"room_name": "lobby"} if "Transfer" in name else {})))
    return caught.value.code, caught.value.msg


@pytest.mark.parametrize(("file", "name"), [(egress, "Egress"), (ingress, "Ingress"), (sip, "SIP")])
def test_every_method_of_the_service_is_there(file: ModuleType, name: str) -> None:
    expected = {method.name for method in file.DESCRIPTOR.services_by_name[name].methods}
    assert set(SERVICES[f"livekit.{name}"].methods) == expected


@pytest.mark.parametrize(("service", "name"), METHODS)
async def test_a_token_without_the_grant_is_denied(service: str, name: str) -> None:
    lesser = caller(VideoGrant(room_join=True, room="lobby", room_create=True, room_list=True))
    assert await refusal(service, name, Call()) == ("unauthenticated", "permissions denied")
    assert await refusal(service, name, lesser) == ("unauthenticated", "permissions denied")


@pytest.mark.parametrize(("service", "name"), METHODS)
async def test_with_every_grant_the_backend_is_missing(service: str, name: str) -> None:
    every = caller(
        VideoGrant(room_record=True, ingress_admin=True, room_admin=True, room="lobby"),
        SipGrant(admin=True, call=True),
    )
    missing = service.removeprefix("livekit.").lower()
    assert await refusal(service, name, every) == ("internal", f"{missing} not connected (redis required)")


async def test_sip_calls_need_the_call_grant_and_transfers_the_room_too() -> None:
    denied = ("unauthenticated", "permissions denied")
    manager = caller(sip_grant=SipGrant(admin=True))
    dialler = caller(sip_grant=SipGrant(call=True))
    elsewhere = caller(VideoGrant(room_admin=True, room="other"), SipGrant(call=True))
    assert await refusal("livekit.SIP", "CreateSIPParticipant", manager) == denied
    assert (await refusal("livekit.SIP", "CreateSIPParticipant", dialler))[0] == "internal"
    assert await refusal("livekit.SIP", "ListSIPInboundTrunk", dialler) == denied
    assert await refusal("livekit.SIP", "TransferSIPParticipant", dialler) == denied
    assert await refusal("livekit.SIP", "TransferSIPParticipant", elsewhere) == denied
