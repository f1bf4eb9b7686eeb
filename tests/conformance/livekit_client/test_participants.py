"""Names, metadata, attributes and permissions as ``livekit-client`` sets and sees them."""

from __future__ import annotations

import pytest
from livekit.protocol import models

from support.livekit_client import ClientError

pytestmark = [pytest.mark.conformance, pytest.mark.asyncio(loop_scope="session")]


async def test_what_it_sets_of_itself_others_see(stage) -> None:
    peer = await stage.peer()
    web = await stage.client("web", can_update_own_metadata=True)
    await web.run("room.localParticipant.setAttributes({seat: '7', mood: 'calm'})")
    await web.run("room.localParticipant.setName('Ada')")
    await web.run("room.localParticipant.setMetadata('vip')")

    changed, participant = await peer.next("participant_attributes_changed")
    assert (changed, participant.identity) == ({"seat": "7", "mood": "calm"}, "web")
    await peer.next("participant_metadata_changed")
    seen = peer.room.remote_participants["web"]
    assert (seen.name, seen.metadata) == ("Ada", "vip")


async def test_an_empty_attribute_is_removed_and_the_others_stay(stage) -> None:
    web = await stage.client("web", can_update_own_metadata=True)
    await web.run("room.localParticipant.setAttributes({seat: '7', mood: 'calm'})")
    await web.run("room.localParticipant.setAttributes({mood: ''})")
    assert (await web.run("room.localParticipant"))["attributes"] == {"seat": "7"}


async def test_without_the_permission_it_is_refused_and_told_why(stage) -> None:
    web = await stage.client("web")
    with pytest.raises(ClientError) as refused:
        await web.run("room.localParticipant.setAttributes({seat: '7'})")
    assert refused.value.name == "SignalRequestError"
    assert refused.value.reason_name == "NOT_ALLOWED"


async def test_it_sees_each_state_of_an_agent_in_order(stage) -> None:
    web = await stage.client("web")
    agent = await stage.peer("agent-1", kind="agent", can_update_own_metadata=True)
    states = ["initializing", "listening", "thinking", "speaking", "listening"]
    for state in states:
        await agent.me.set_attributes({"lk.agent.state": state})
    seen = [(await web.next("participantAttributesChanged"))[0]["lk.agent.state"] for _ in states]
    assert seen == states


async def test_a_changed_permission_takes_effect_and_is_announced(stage) -> None:
    web = await stage.client("web")
    room = stage.server.rooms.get("lobby")
    permission = models.ParticipantPermission(can_subscribe=True, can_publish=False, can_publish_data=True)
    stage.server.rooms.update_participant(room, "web", permission=permission)

    await web.next("participantPermissionsChanged")
    assert (await web.run("room.localParticipant"))["permissions"].get("canPublish", False) is False


async def test_the_rooms_metadata_reaches_everybody(stage) -> None:
    web = await stage.client("web")
    stage.server.rooms.update_room_metadata(stage.server.rooms.get("lobby"), "closing soon")
    assert await web.next("roomMetadataChanged") == ["closing soon"]


async def test_a_hidden_participant_is_not_seen(stage) -> None:
    web = await stage.client("web")
    await stage.peer("ghost", hidden=True)
    await stage.peer("python")
    (joined,) = await web.next("participantConnected")
    assert joined["identity"] == "python"
    assert len(await web.run("[...room.remoteParticipants.values()]")) == 1
