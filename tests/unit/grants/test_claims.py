"""Claims: LiveKit's defaults, its names on the wire, and the official SDK in both directions."""

from __future__ import annotations

import datetime as dt
from typing import Any

import jwt
import msgspec
import pytest
from livekit import api
from livekit.protocol import agent_dispatch, models
from livekit.protocol import room as room_pb

from greenroom.config import ApiKey
from greenroom.grants import (
    AgentEndpointGrant,
    AgentGrant,
    AgentThreadGrant,
    Claims,
    InferenceGrant,
    ObservabilityGrant,
    SipGrant,
    VideoGrant,
    mint,
    verify,
)

pytestmark = pytest.mark.unit

KEY = ApiKey(key="APIkey", secret="a secret of more than thirty-two bytes")


def read(members: dict[str, Any]) -> Claims:
    token = jwt.encode({"iss": KEY.key, "exp": 2_000_000_000, **members}, KEY.secret, algorithm="HS256")
    return verify(token, (KEY,)).claims


def video(**members: Any) -> VideoGrant:
    grant = read({"video": members}).video
    assert grant is not None
    return grant


def test_a_participant_may_publish_and_subscribe_unless_refused() -> None:
    assert video().permission() == models.ParticipantPermission(
        can_publish=True, can_subscribe=True, can_publish_data=True
    )


def test_data_follows_publishing_unless_said() -> None:
    assert not video(canPublish=False).may_publish_data
    assert video(canPublish=False, canPublishData=True).may_publish_data
    assert not video(canPublishData=False).may_publish_data


def test_sources_limit_publishing_and_refusal_overrides_them() -> None:
    limited = video(canPublishSources=["microphone", "screen_share_audio"])
    assert limited.may_publish_source(models.TrackSource.MICROPHONE)
    assert limited.may_publish_source(models.TrackSource.SCREEN_SHARE_AUDIO)
    assert not limited.may_publish_source(models.TrackSource.CAMERA)
    assert video().may_publish_source(models.TrackSource.CAMERA)
    assert not video(canPublish=False, canPublishSources=["camera"]).may_publish_source(models.TrackSource.CAMERA)


def test_an_unknown_source_does_not_open_all_of_them() -> None:
    limited = video(canPublishSources=["hologram"])
    assert limited.publish_sources == (models.TrackSource.UNKNOWN,)
    assert not limited.may_publish_source(models.TrackSource.CAMERA)


def test_a_permission_carries_every_grant() -> None:
    granted = video(
        canPublish=False,
        canSubscribe=False,
        canPublishSources=["camera"],
        canUpdateOwnMetadata=True,
        hidden=True,
        recorder=True,
        agent=True,
        canSubscribeMetrics=True,
        canManageAgentSession=True,
    )
    assert granted.permission() == models.ParticipantPermission(
        can_publish_sources=[models.TrackSource.CAMERA],
        can_update_metadata=True,
        hidden=True,
        recorder=True,
        agent=True,
        can_subscribe_metrics=True,
        can_manage_agent_session=True,
    )


def test_a_grant_takes_over_a_permission_and_gives_it_back() -> None:
    permission = models.ParticipantPermission(
        can_publish=True, can_publish_sources=[models.TrackSource.SCREEN_SHARE], can_update_metadata=True
    )
    grant = VideoGrant(room_join=True, room="lobby").with_permission(permission)
    assert grant.permission() == permission
    assert (grant.room_join, grant.room) == (True, "lobby")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", models.ParticipantInfo.STANDARD),
        ("standard", models.ParticipantInfo.STANDARD),
        ("Agent", models.ParticipantInfo.AGENT),
        ("SIP", models.ParticipantInfo.SIP),
        ("egress", models.ParticipantInfo.EGRESS),
        ("ingress", models.ParticipantInfo.INGRESS),
        ("connector", models.ParticipantInfo.CONNECTOR),
        ("bridge", models.ParticipantInfo.BRIDGE),
        ("robot", models.ParticipantInfo.STANDARD),
    ],
)
def test_kinds_are_read_whatever_their_case(text: str, kind: Any) -> None:
    assert read({"kind": text}).participant_kind == kind


def test_kind_details_are_read_and_unknown_ones_left_out() -> None:
    claims = read({"kindDetails": ["cloud_agent", "SIMULATION", "news"]})
    assert claims.participant_kind_details == (
        models.ParticipantInfo.CLOUD_AGENT,
        models.ParticipantInfo.SIMULATION,
    )


def test_null_and_unknown_members_are_ignored() -> None:
    claims = read({"name": None, "video": {"room": None, "roomJoin": True, "future": [1]}, "future": {"a": 1}})
    assert claims.name == ""
    assert claims.video == VideoGrant(room_join=True)


def test_room_config_is_read_in_either_case_and_with_numbers_as_text() -> None:
    claims = read(
        {
            "roomConfig": {
                "empty_timeout": "30",
                "departureTimeout": 5,
                "agents": [{"agent_name": "a", "restartPolicy": "JRP_NEVER"}, {"agentName": "b", "restart_policy": 1}],
                "future": True,
            }
        }
    )
    config = claims.room_config
    assert config is not None
    assert (config.empty_timeout, config.departure_timeout) == (30, 5)
    assert [(agent.agent_name, agent.restart_policy) for agent in config.agents] == [("a", 1), ("b", 1)]


def test_tokens_leave_out_what_is_not_granted() -> None:
    token = mint(KEY, identity="ann", video=VideoGrant(room_join=True, room="lobby"), now=1_800_000_000)
    assert jwt.decode(token, options={"verify_signature": False}) == {
        "iss": "APIkey",
        "sub": "ann",
        "nbf": 1_800_000_000,
        "exp": 1_800_021_600,
        "video": {"roomJoin": True, "room": "lobby"},
    }
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}


def test_our_tokens_are_read_by_the_official_sdk() -> None:
    config = room_pb.RoomConfiguration(
        empty_timeout=30, agents=[agent_dispatch.RoomAgentDispatch(agent_name="front-desk", metadata="m")]
    )
    token = mint(
        KEY,
        identity="ann",
        name="Ann",
        metadata="meta",
        attributes={"a": "1"},
        kind="agent",
        video=VideoGrant(room_join=True, room="lobby", can_publish=False, can_publish_sources=("camera",), hidden=True),
        sip=SipGrant(admin=True),
        agent=AgentGrant(simulation_admin=True, dispatch_admin=True),
        inference=InferenceGrant(perform=True),
        observability=ObservabilityGrant(write=True),
        agent_endpoint=AgentEndpointGrant(call=True, agent_name="front-desk"),
        agent_thread=AgentThreadGrant(all=True, thread_ids=("t",)),
        room_config=config,
        room_preset="preset",
        sha256="digest",
    )
    claims = api.TokenVerifier(KEY.key, KEY.secret).verify(token)
    assert (claims.identity, claims.name, claims.metadata, claims.kind) == ("ann", "Ann", "meta", "agent")
    assert claims.attributes == {"a": "1"}
    assert claims.video == api.VideoGrants(
        room_join=True, room="lobby", can_publish=False, can_publish_sources=["camera"], hidden=True
    )
    assert claims.sip == api.SIPGrants(admin=True)
    assert claims.agent == api.access_token.AgentGrants(simulation_admin=True, dispatch_admin=True)
    assert claims.inference == api.access_token.InferenceGrants(perform=True)
    assert claims.observability == api.access_token.ObservabilityGrants(write=True)
    assert claims.agent_endpoint == api.access_token.AgentEndpointGrants(call=True, agent_name="front-desk")
    assert claims.agent_thread == api.access_token.AgentThreadGrants(all=True, thread_ids=["t"])
    assert (claims.room_config, claims.room_preset, claims.sha256) == (config, "preset", "digest")


def test_tokens_of_the_official_sdk_are_read_by_us() -> None:
    config = room_pb.RoomConfiguration(
        max_participants=3,
        metadata="m",
        agents=[agent_dispatch.RoomAgentDispatch(agent_name="front-desk", attributes={"k": "v"})],
        tags={"team": "blue"},
    )
    token = (
        api.AccessToken(KEY.key, KEY.secret)
        .with_identity("ann")
        .with_name("Ann")
        .with_metadata("meta")
        .with_attributes({"a": "1"})
        .with_kind("sip")
        .with_grants(
            api.VideoGrants(
                room_join=True,
                room="lobby",
                can_publish_sources=["camera"],
                can_update_own_metadata=True,
                can_manage_agent_session=True,
                destination_room="other",
            )
        )
        .with_sip_grants(api.SIPGrants(call=True))
        .with_agent_grants(api.access_token.AgentGrants(admin=True))
        .with_observability_grants(api.access_token.ObservabilityGrants(write=True))
        .with_room_config(config)
        .with_room_preset("preset")
        .with_sha256("digest")
        .with_ttl(dt.timedelta(minutes=5))
        .to_jwt()
    )
    claims = verify(token, (KEY,)).claims
    times = {"expires_at", "not_before"}
    assert claims.expires_at is not None
    assert claims.not_before is not None
    assert claims.expires_at - claims.not_before == 300
    assert {k: v for k, v in msgspec.structs.asdict(claims).items() if k not in times and v} == {
        "identity": "ann",
        "issuer": KEY.key,
        "name": "Ann",
        "metadata": "meta",
        "attributes": {"a": "1"},
        "kind": "sip",
        "video": VideoGrant(
            room_join=True,
            room="lobby",
            can_publish=True,
            can_subscribe=True,
            can_publish_data=True,
            can_publish_sources=("camera",),
            can_update_own_metadata=True,
            can_manage_agent_session=True,
            destination_room="other",
        ),
        "sip": SipGrant(call=True),
        "agent": AgentGrant(admin=True),
        "observability": ObservabilityGrant(write=True),
        "room_config": config,
        "room_preset": "preset",
        "sha256": "digest",
    }
