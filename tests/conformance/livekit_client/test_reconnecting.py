"""A lost signal connection: the server asks for a full reconnect, and the client comes back."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.conformance, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize("scenario", ["signal-reconnect", "full-reconnect", "node-failure"])
async def test_it_comes_back_as_a_new_participant_and_can_talk(stage, scenario) -> None:
    peer = await stage.peer()
    peer.hear_text("chat")
    web = await stage.client("web")
    await web.run("handleText('chat')")
    before = (await web.run("room.localParticipant"))["sid"]

    await web.run("room.simulateScenario(arg)", scenario)
    await web.next("reconnected")

    assert (await web.run("room.localParticipant"))["sid"] != before
    assert [p["identity"] for p in await web.run("[...room.remoteParticipants.values()]")] == ["python"]
    await peer.next("participant_connected", lambda someone: someone.identity == "web" and someone.sid != before)
    await web.run("room.localParticipant.sendText('back again', {topic: 'chat'})")
    assert (await peer.next("text"))[:2] == ("back again", "web")
    await peer.me.send_text("welcome back", topic="chat")
    assert (await web.next("text"))[0]["text"] == "welcome back"
    assert list(stage.server.rooms.get("lobby").participants) == ["python", "web"]
    assert not web.seen("disconnected")


async def test_the_server_can_send_it_away_on_request(stage) -> None:
    web = await stage.client("web")
    await web.run("room.simulateScenario('server-leave')")
    assert await web.next("disconnected") == [3]
