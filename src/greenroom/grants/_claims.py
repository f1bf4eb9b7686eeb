"""What a LiveKit token says (``docs/protocol.md``, "Tokens")."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec
from google.protobuf import json_format
from livekit.protocol import models
from livekit.protocol import room as room_pb

from greenroom.errors import TokenError

_Value = TypeVar("_Value")


class _Claim(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """An object inside a token: camelCase on the wire, defaults left out, unknown members ignored."""


class VideoGrant(_Claim, frozen=True):
    """What a participant, or an API call, may do with rooms.

    The optional booleans are ``None`` when the token does not say; the ``may_*`` properties apply
    LiveKit's defaults.
    """

    room_create: bool = False
    room_list: bool = False
    room_record: bool = False
    room_admin: bool = False
    room_join: bool = False
    room: str = ""
    destination_room: str = ""
    can_publish: bool | None = None
    can_subscribe: bool | None = None
    can_publish_data: bool | None = None
    can_publish_sources: tuple[str, ...] = ()
    can_update_own_metadata: bool | None = None
    ingress_admin: bool = False
    hidden: bool = False
    recorder: bool = False
    agent: bool = False
    can_subscribe_metrics: bool | None = None
    can_manage_agent_session: bool | None = None

    @property
    def may_publish(self) -> bool:
        """Whether media may be published; true unless refused."""
        return self.can_publish is not False

    @property
    def may_subscribe(self) -> bool:
        """Whether media may be received; true unless refused."""
        return self.can_subscribe is not False

    @property
    def may_publish_data(self) -> bool:
        """Whether data may be sent; as :attr:`may_publish` unless the token says."""
        return self.may_publish if self.can_publish_data is None else self.can_publish_data

    @property
    def may_update_own_metadata(self) -> bool:
        """Whether the participant may change its own name, metadata and attributes; false unless granted."""
        return bool(self.can_update_own_metadata)

    @property
    def may_subscribe_metrics(self) -> bool:
        """Whether metrics of others are delivered; false unless granted."""
        return bool(self.can_subscribe_metrics)

    @property
    def may_manage_agent_session(self) -> bool:
        """Whether the participant may steer agent sessions; false unless granted."""
        return bool(self.can_manage_agent_session)

    @property
    def publish_sources(self) -> tuple[models.TrackSource, ...]:
        """The sources that may be published; empty for all of them.

        A name that is not known stays in the list as ``UNKNOWN``: dropping it could leave the list
        empty and so grant everything.
        """
        return tuple(_track_source(name) for name in self.can_publish_sources)

    def may_publish_source(self, source: models.TrackSource) -> bool:
        """Whether a track of ``source`` may be published."""
        return self.may_publish and (not self.can_publish_sources or source in self.publish_sources)

    def permission(self) -> models.ParticipantPermission:
        """Return the permission a participant joins with."""
        return models.ParticipantPermission(
            can_subscribe=self.may_subscribe,
            can_publish=self.may_publish,
            can_publish_data=self.may_publish_data,
            can_publish_sources=self.publish_sources,
            hidden=self.hidden,
            recorder=self.recorder,
            can_update_metadata=self.may_update_own_metadata,
            agent=self.agent,
            can_subscribe_metrics=self.may_subscribe_metrics,
            can_manage_agent_session=self.may_manage_agent_session,
        )

    def with_permission(self, permission: models.ParticipantPermission) -> VideoGrant:
        """Return this grant with everything a permission covers replaced, for a refreshed token."""
        return msgspec.structs.replace(
            self,
            can_subscribe=permission.can_subscribe,
            can_publish=permission.can_publish,
            can_publish_data=permission.can_publish_data,
            can_publish_sources=tuple(
                models.TrackSource.Name(source).lower() for source in permission.can_publish_sources
            ),
            hidden=permission.hidden,
            recorder=permission.recorder,
            can_update_own_metadata=permission.can_update_metadata,
            agent=permission.agent,
            can_subscribe_metrics=permission.can_subscribe_metrics,
            can_manage_agent_session=permission.can_manage_agent_session,
        )


class SipGrant(_Claim, frozen=True):
    """What an API call may do with telephony."""

    admin: bool = False
    call: bool = False


class AgentGrant(_Claim, frozen=True):
    """What an API call may do with agents, simulations and agent databases."""

    admin: bool = False
    simulation_admin: bool = False
    database_admin: bool = False
    dispatch_admin: bool = False


class InferenceGrant(_Claim, frozen=True):
    """Whether inference may be asked for."""

    perform: bool = False


class ObservabilityGrant(_Claim, frozen=True):
    """Whether telemetry may be uploaded."""

    write: bool = False


class AgentEndpointGrant(_Claim, frozen=True):
    """Which HTTP endpoints of agents may be called. An empty name or deployment means every one."""

    call: bool = False
    agent_name: str = ""
    deployment: str = ""


class AgentThreadGrant(_Claim, frozen=True):
    """What may be done with agent threads."""

    all: bool = False
    scope: str = ""
    thread_ids: tuple[str, ...] = ()
    list: bool = False
    create: bool = False
    write: bool = False
    read: bool = False
    delete: bool = False


_REGISTERED: Final = {
    "identity": "sub",
    "token_id": "jti",
    "issuer": "iss",
    "expires_at": "exp",
    "not_before": "nbf",
}


def _wire_name(field: str) -> str:
    first, *rest = field.split("_")
    return _REGISTERED.get(field, first + "".join(word.capitalize() for word in rest))


class Claims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename=_wire_name):
    """Everything a token says. Times are seconds since the epoch.

    ``identity`` is the ``sub`` claim or, without one, ``jti``; a member called ``identity`` is ignored.
    ``kind`` and ``kind_details`` are lower case.
    """

    identity: str = ""
    token_id: str = ""
    issuer: str = ""
    expires_at: float | None = None
    not_before: float | None = None
    name: str = ""
    metadata: str = ""
    attributes: dict[str, str] = {}
    kind: str = ""
    kind_details: tuple[str, ...] = ()
    video: VideoGrant | None = None
    sip: SipGrant | None = None
    agent: AgentGrant | None = None
    inference: InferenceGrant | None = None
    observability: ObservabilityGrant | None = None
    agent_endpoint: AgentEndpointGrant | None = None
    agent_thread: AgentThreadGrant | None = None
    room_config: room_pb.RoomConfiguration | None = None
    room_preset: str = ""
    sha256: str = ""

    @property
    def participant_kind(self) -> models.ParticipantInfo.Kind:
        """The kind a participant joins as. What is not known counts as standard, as in LiveKit."""
        return _enum(models.ParticipantInfo.Kind, self.kind, models.ParticipantInfo.STANDARD)

    @property
    def participant_kind_details(self) -> tuple[models.ParticipantInfo.KindDetail, ...]:
        """The details of the kind; unknown ones are left out."""
        details = models.ParticipantInfo.KindDetail
        known = set(details.keys())
        return tuple(_enum(details, name, details.CLOUD_AGENT) for name in self.kind_details if name.upper() in known)

    def encode(self) -> bytes:
        """Return the JSON payload of a token."""
        return msgspec.json.encode(self, enc_hook=_encode_message)


class _Issuer(msgspec.Struct):
    iss: str = ""


def parse_issuer(payload: bytes) -> str:
    """Return who claims to have signed the token, or ``""``."""
    try:
        return msgspec.json.decode(payload, type=_Issuer).iss
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        raise TokenError("invalid authorization token: its claims are not a JSON object") from None


def parse_claims(payload: bytes) -> Claims:
    """Read the payload of a token whose signature has been checked. Raises :class:`TokenError`.

    ``null`` counts as absent, as it does for LiveKit's own parser.
    """
    try:
        members = _without_nulls(msgspec.json.decode(payload, type=dict[str, Any]))
        claims = msgspec.convert(members, Claims, dec_hook=_decode_message)
    except msgspec.ValidationError as error:
        raise TokenError(f"invalid authorization token: {error}") from None
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        raise TokenError("invalid authorization token: its claims are not a JSON object") from None
    return msgspec.structs.replace(
        claims,
        identity=claims.identity or claims.token_id,
        kind=claims.kind.lower(),
        kind_details=tuple(detail.lower() for detail in claims.kind_details),
    )


def _without_nulls(members: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _without_nulls(value) if isinstance(value, dict) else value
        for name, value in members.items()
        if value is not None
    }


def _decode_message(kind: type, value: object) -> object:
    # The only type msgspec does not know is the RoomConfiguration.
    if not isinstance(value, dict):
        raise ValueError("roomConfig is not an object")  # noqa: TRY004 - msgspec reports ValueError as its own
    try:
        return json_format.ParseDict(value, kind(), ignore_unknown_fields=True)
    except (json_format.ParseError, TypeError, AttributeError, RecursionError):
        raise ValueError("roomConfig is not a RoomConfiguration") from None


def _encode_message(value: object) -> object:
    if isinstance(value, room_pb.RoomConfiguration):
        return json_format.MessageToDict(value)
    raise NotImplementedError


def _track_source(name: str) -> models.TrackSource:
    return _enum(models.TrackSource, name, models.TrackSource.UNKNOWN)


def _enum(wrapper: Any, name: str, default: _Value) -> _Value:
    try:
        value: _Value = wrapper.Value(name.upper())
    except ValueError:
        return default
    return value
