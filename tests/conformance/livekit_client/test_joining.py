"""``livekit-client`` joins, is refused, and is told why it has to go."""

from __future__ import annotations

import pytest
from livekit.protocol import models

from greenroom.config import ApiKey, RoomDefaults
from support.livekit_client import ClientError

pytestmark = [pytest.mark.conformance, pytest.mark.asyncio(loop_scope="session")]

# ConnectionErrorReason and DisconnectReason of livekit-client.
NOT_ALLOWED = 0
SERVER_SHUTDOWN, ROOM_DELETED, DUPLICATE_IDENTITY, PARTICIPANT_REMOVED, CLIENT_INITIATED = 3, 5, 2, 4, 1


async def test_it_knows_the_room_itself_and_who_is_there(stage) -> None:
    agent = await stage.peer("agent-1", kind="agent", name="Front desk", can_update_own_metadata=True)
    await agent.me.set_attributes({"lk.agent.state": "listening"})
    web = await stage.client("web", name="Ada")

    assert await web.run("room.name") == "lobby"
    assert (await web.run("room.getSid()")).startswith("RM_")
    me = await web.run("room.localParticipant")
    assert (me["identity"], me["name"]) == ("web", "Ada")
    assert me["sid"].startswith("PA_")
    (other,) = await web.run("[...room.remoteParticipants.values()]")
    assert (other["identity"], other["name"], other["isAgent"]) == ("agent-1", "Front desk", True)
    assert other["attributes"] == {"lk.agent.state": "listening"}
    assert not web.complaints.messages


async def test_it_uses_one_peer_connection_over_the_first_endpoint_it_tries(stage) -> None:
    web = await stage.page()
    requests: list[str] = []
    web.page.on("websocket", lambda socket: requests.append(socket.url.partition("?")[0]))
    await web.connect(stage.url, stage.token("web"))

    assert requests == [f"{stage.url}/rtc/v1"]
    assert await web.run("room.engine.pcManager.mode") == "publisher-only"


async def test_it_sees_others_come_and_go(stage) -> None:
    web = await stage.client()
    peer = await stage.peer("python")
    (joined,) = await web.next("participantConnected")
    assert joined["identity"] == "python"

    await peer.room.disconnect()
    left, reason = await web.next("participantDisconnected")
    assert (left["identity"], reason) == ("python", CLIENT_INITIATED)


async def test_others_learn_that_it_left_on_purpose(stage) -> None:
    peer = await stage.peer()
    web = await stage.client()
    await web.disconnect()

    assert (await web.next("disconnected")) == [CLIENT_INITIATED]
    gone = await peer.next("participant_disconnected")
    assert (gone.identity, gone.disconnect_reason) == ("web", models.CLIENT_INITIATED)


async def test_closing_the_tab_is_leaving(stage) -> None:
    peer = await stage.peer()
    web = await stage.client()
    await web.page.close(run_before_unload=True)

    assert (await peer.next("participant_disconnected", within=5)).identity == "web"


@pytest.mark.parametrize(
    ("token", "says"),
    [
        ({"key": ApiKey(key="devkey", secret="wrong")}, "invalid authorization token"),
        ({"key": ApiKey(key="nobody", secret="secret")}, "invalid API key"),
        ({"room_join": False}, "permissions denied"),
    ],
)
async def test_a_token_that_does_not_admit_is_a_refusal_with_its_reason(stage, token, says) -> None:
    web = await stage.page()
    with pytest.raises(ClientError) as refused:
        await web.connect(stage.url, stage.token("web", **token))

    assert (refused.value.reason, refused.value.status) == (NOT_ALLOWED, 401)
    assert says in refused.value.message
    assert not stage.server.rooms.list()


async def test_a_token_without_an_identity_is_a_bad_request(stage) -> None:
    web = await stage.page()
    with pytest.raises(ClientError) as refused:
        await web.connect(stage.url, stage.token(""))
    assert refused.value.reason != NOT_ALLOWED
    assert not stage.server.rooms.list()


async def test_a_room_that_must_exist_first_is_said_not_to_exist(stage_of) -> None:
    stage = await stage_of(room=RoomDefaults(auto_create=False))
    web = await stage.page()
    with pytest.raises(ClientError) as refused:
        await web.connect(stage.url, stage.token("web"))

    assert (refused.value.reason, refused.value.status) == (NOT_ALLOWED, 404)
    assert "requested room does not exist" in refused.value.message


async def test_the_same_identity_joining_again_takes_the_place(stage) -> None:
    first = await stage.client("web")
    first_sid = (await first.run("room.localParticipant"))["sid"]
    second = await stage.client("web")

    assert (await first.next("disconnected")) == [DUPLICATE_IDENTITY]
    assert (await second.run("room.localParticipant"))["sid"] != first_sid
    assert len(stage.server.rooms.get("lobby").participants) == 1


async def test_a_removed_participant_is_told_so(stage) -> None:
    web = await stage.client("web")
    room = stage.server.rooms.get("lobby")
    stage.server.rooms.remove_participant(room, "web", models.PARTICIPANT_REMOVED)
    assert (await web.next("disconnected")) == [PARTICIPANT_REMOVED]


async def test_everybody_is_told_that_the_room_was_deleted(stage) -> None:
    web = await stage.client("web")
    await stage.server.rooms.delete("lobby")
    assert (await web.next("disconnected")) == [ROOM_DELETED]


async def test_everybody_is_told_that_the_server_stops(stage) -> None:
    web = await stage.client("web")
    await stage.server.stop()
    assert (await web.next("disconnected")) == [SERVER_SHUTDOWN]


async def test_two_peer_connections_are_refused_with_the_reason_and_not_tried_for_ever(stage) -> None:
    web = await stage.page()
    with pytest.raises(ClientError, match="dual peer connection is not served yet") as refused:
        await web.connect(stage.url, stage.token("web"), room={"singlePeerConnection": False})
    assert refused.value.reason == NOT_ALLOWED
