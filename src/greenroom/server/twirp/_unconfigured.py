"""Services that LiveKit registers even when what they need is not there.

Egress, ingress and SIP have no backend here. Each method checks its permission as LiveKit does, then
answers what LiveKit answers without one, so that SDKs see a proper Twirp error instead of a lost route.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from livekit.protocol import egress, ingress, sip

from greenroom.server.twirp._permissions import (
    require_ingress_admin,
    require_room_admin,
    require_room_record,
    require_sip_admin,
    require_sip_call,
)
from greenroom.server.twirp._service import Call, Handler, Method, Service
from greenroom.server.twirp._wire import TwirpError

EGRESS_NOT_CONNECTED: Final = "egress not connected (redis required)"
_INGRESS_NOT_CONNECTED: Final = "ingress not connected (redis required)"
_SIP_NOT_CONNECTED: Final = "sip not connected (redis required)"

Check = Callable[[Call, Any], object]


def unconfigured_services() -> list[Service]:
    """Return egress, ingress and SIP as LiveKit serves them without a backend."""
    return [
        _service(egress.DESCRIPTOR, "Egress", _records, EGRESS_NOT_CONNECTED),
        _service(ingress.DESCRIPTOR, "Ingress", _administers_ingress, _INGRESS_NOT_CONNECTED),
        _service(
            sip.DESCRIPTOR,
            "SIP",
            _administers_sip,
            _SIP_NOT_CONNECTED,
            {"CreateSIPParticipant": _calls, "TransferSIPParticipant": _transfers},
        ),
    ]


def _records(call: Call, _: object) -> None:
    require_room_record(call)


def _administers_ingress(call: Call, _: object) -> None:
    require_ingress_admin(call)


def _administers_sip(call: Call, _: object) -> None:
    require_sip_admin(call)


def _calls(call: Call, _: object) -> None:
    require_sip_call(call)


def _transfers(call: Call, request: sip.TransferSIPParticipantRequest) -> None:
    require_sip_call(call)
    require_room_admin(call, request.room_name)


def _service(
    file: FileDescriptor, name: str, check: Check, refusal: str, exceptions: Mapping[str, Check] | None = None
) -> Service:
    descriptor = file.services_by_name[name]
    checks = exceptions or {}
    return Service(
        descriptor.full_name,
        {
            method.name: Method(GetMessageClass(method.input_type), _refuse(checks.get(method.name, check), refusal))
            for method in descriptor.methods
        },
    )


def _refuse(check: Check, refusal: str) -> Handler:
    async def handler(call: Call, request: Any) -> Message:
        check(call, request)
        raise TwirpError("internal", refusal)

    return handler
