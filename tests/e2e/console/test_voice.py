"""Talking and hearing in the Playground: Chromium's microphone says a file, an agent's tone is measured in the page."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from livekit import rtc
from livekit.protocol import models
from livekit.protocol import rtc as signal
from livekit.protocol.agent_pb import agent_session
from playwright.async_api import Browser, Locator, expect

from greenroom.config import Limits
from support.accessibility import barriers
from support.browser import chromium
from support.page_sound import Speech, hears_speech, listen, plays, speech
from support.playground import Playground
from support.rtc_peer import Peer
from support.session_events import tell
from support.sound import TIMEOUT, Ear, tone

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

MIC = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
ALLOWED = {"permissions": ["microphone"]}
MAY_NOT_PUBLISH = models.ParticipantPermission(can_subscribe=True, can_publish_data=True)

ANY_SOUND = re.compile(r"^([2-9]\d|100)$")

#: Keeps what the browser gave the page.
WATCH_CAPTURE = """
  window.captures = [];
  const original = navigator.mediaDevices?.getUserMedia.bind(navigator.mediaDevices);
  if (original) navigator.mediaDevices.getUserMedia = async (constraints) => {
    const stream = await original(constraints);
    window.captures.push(...stream.getTracks());
    return stream;
  };
"""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def said(tmp_path_factory) -> Speech:
    return await speech("I would like a table for two on Monday", tmp_path_factory.mktemp("speech") / "said.wav")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def talking_browser(said) -> AsyncIterator[Browser]:
    async with chromium(*said.flags) as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def talking_house(house_of, talking_browser):
    return await house_of(browser=talking_browser)


@pytest_asyncio.fixture(loop_scope="session")
async def ear_of() -> AsyncIterator[Callable[[Peer], Awaitable[Ear]]]:
    """Listen to the next track that a participant receives."""
    ears: list[Ear] = []

    async def ear_of(peer: Peer) -> Ear:
        track, _publication, _participant = await peer.next("track_subscribed")
        ears.append(Ear(track))
        return ears[-1]

    yield ear_of
    await asyncio.gather(*(ear.close() for ear in ears))


def meter(page: Playground, name: str) -> Locator:
    return page.page.get_by_role("meter", name=name)


async def until(page: Playground, condition: str) -> None:
    """Wait until an expression is true in the page, whose policy forbids it to evaluate one by itself."""
    async with asyncio.timeout(TIMEOUT):
        while not await page.page.evaluate(condition):
            pass


async def moves(level: Locator) -> None:
    """Wait until a meter is well above its lower end."""
    await expect(level).to_have_attribute("aria-valuenow", ANY_SOUND)


class TestTalking:
    async def test_nobody_is_heard_before_the_microphone_is_turned_on(self, talking_house) -> None:
        page = await talking_house.visit(**ALLOWED)
        await page.page.add_init_script(WATCH_CAPTURE)
        await page.page.reload()
        await page.join()
        await page.connected()
        await expect(page.button("Turn on microphone")).to_be_enabled()
        assert await page.page.evaluate("captures.length") == 0

    async def test_what_the_visitor_says_is_heard_until_muted_and_after(self, talking_house, said, ear_of) -> None:
        page, agent = await talking_house.call(**ALLOWED)
        await page.button("Turn on microphone").click()
        ear = await ear_of(agent)
        await hears_speech(ear, said)
        await moves(meter(page, "Your level"))

        await page.button("Mute microphone").click()
        await agent.next("track_muted")
        await ear.hears_nothing()
        await expect(meter(page, "Your level")).to_have_attribute("aria-valuenow", "0")
        await page.button("Unmute microphone").click()
        await agent.next("track_unmuted")
        await hears_speech(ear, said)
        assert page.complaints.messages == []

    async def test_leaving_lets_go_of_the_microphone(self, talking_house) -> None:
        page = await talking_house.visit(**ALLOWED)
        await page.page.add_init_script(WATCH_CAPTURE)
        await page.page.reload()
        await page.join()
        await page.button("Turn on microphone").click()
        await expect(page.button("Mute microphone")).to_be_visible()
        assert await page.page.evaluate("captures.map((track) => track.readyState)") == ["live"]
        await page.button("Leave").click()
        await until(page, "captures.every((track) => track.readyState === 'ended')")
        await page.button("Call again").click()
        await expect(page.button("Turn on microphone")).to_be_enabled()

    async def test_a_microphone_that_is_chosen_is_used_at_once_and_next_time(self, talking_house) -> None:
        page = await talking_house.visit(**ALLOWED)
        await page.page.add_init_script(WATCH_CAPTURE)
        await page.page.reload()
        await page.join()
        await page.button("Turn on microphone").click()
        await expect(page.button("Mute microphone")).to_be_visible()
        await page.button("Choose microphone").click()
        await page.page.get_by_role("menuitemradio", name="Fake Audio Input 2").click()
        await until(page, "captures.at(-1).label === 'Fake Audio Input 2'")

        await page.page.reload()
        await page.join()
        await page.button("Turn on microphone").click()
        await expect(page.button("Mute microphone")).to_be_visible()
        assert await page.page.evaluate("captures.map((track) => track.label)") == ["Fake Audio Input 2"]
        await page.button("Choose microphone").click()
        chosen = page.page.get_by_role("menuitemradio", name="Fake Audio Input 2")
        await expect(chosen).to_have_attribute("aria-checked", "true")

    async def test_somebody_with_the_key_mutes_the_visitor_who_may_unmute(self, talking_house, said, ear_of) -> None:
        page, agent = await talking_house.call(**ALLOWED)
        await page.button("Turn on microphone").click()
        ear = await ear_of(agent)
        rooms = talking_house.server.rooms
        room = rooms.get(await page.room_name())
        (visitor,) = agent.room.remote_participants.values()
        (sid,) = visitor.track_publications
        rooms.mute_track(room, visitor.identity, sid, muted=True)
        await expect(page.notice("You were muted")).to_be_visible()
        await ear.hears_nothing()
        await page.button("Unmute microphone").click()
        await expect(page.notice("You were muted")).to_have_count(0)
        await hears_speech(ear, said)


class TestHearing:
    async def test_the_agent_is_heard_at_its_pitch_and_level_until_it_stops(self, talking_house) -> None:
        page, agent = await talking_house.call()
        async with tone(440, 0.25) as track:
            published = await agent.me.publish_track(track, MIC)
            sound = await plays(page.page, 440, 0.25)
            assert sound.playing == 1
            await moves(meter(page, "Level of front-desk"))
            await agent.me.unpublish_track(published.sid)
        await expect(page.page.locator("audio")).to_have_count(0)
        await expect(meter(page, "Level of front-desk")).to_have_attribute("aria-valuenow", "0")
        assert page.complaints.messages == []

    async def test_muted_sound_is_still_seen_to_come(self, talking_house) -> None:
        page, agent = await talking_house.call(**ALLOWED)
        async with tone(440, 0.25) as track:
            await agent.me.publish_track(track, MIC)
            await plays(page.page, 440, 0.25)
            await page.button("Mute sound").click()
            await expect(page.button("Unmute sound")).to_be_visible()
            # The client starts all playback anew when the microphone comes.
            await page.button("Turn on microphone").click()
            await expect(page.button("Mute microphone")).to_be_visible()
            assert (await listen(page.page)).playing == 0
            await moves(meter(page, "Level of front-desk"))
            await page.button("Unmute sound").click()
            await expect(page.button("Mute sound")).to_be_visible()
            assert (await listen(page.page)).playing == 1

    async def test_a_speaker_that_is_chosen_plays_at_once_and_next_time(self, talking_house) -> None:
        page, agent = await talking_house.call(**ALLOWED)
        await page.button("Turn on microphone").click()
        async with tone(440) as track:
            await agent.me.publish_track(track, MIC)
            await plays(page.page, 440, 0.25)
            await page.button("Choose speaker").click()
            speaker = page.page.get_by_role("menuitemradio").last
            name = await speaker.inner_text()
            await speaker.click()
            await until(page, "document.querySelector('audio').sinkId !== ''")
        assert name != "System default"

        await page.page.reload()
        await page.join()
        await page.connected()
        agent = await talking_house.agent(await page.room_name())
        async with tone(440) as track:
            await agent.me.publish_track(track, MIC)
            await until(page, "document.querySelector('audio')?.sinkId")
            await plays(page.page, 440, 0.25)

    async def test_sound_that_the_browser_holds_back_is_one_press_away(self, talking_house) -> None:
        page = await talking_house.visit()
        await page.page.add_init_script("""
          const play = HTMLMediaElement.prototype.play;
          HTMLMediaElement.prototype.play = async function () {
            if (!navigator.userActivation.isActive || !window.pressed) throw new DOMException("no", "NotAllowedError");
            return play.call(this);
          };
        """)
        await page.page.reload()
        await page.join()
        await page.connected()
        agent = await talking_house.agent(await page.room_name())
        async with tone(440) as track:
            await agent.me.publish_track(track, MIC)
            await expect(page.notice("The sound is off")).to_be_visible()
            await page.page.evaluate("window.pressed = true")
            await page.button("Enable sound").click()
            await expect(page.notice("The sound is off")).to_have_count(0)
            assert (await plays(page.page, 440, 0.25)).playing == 1


class TestRefusals:
    async def test_a_browser_that_refuses_is_said_and_typing_goes_on(self, house_of) -> None:
        async with chromium("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream=deny") as browser:
            house = await house_of(browser=browser)
            page, agent = await house.call()
            await page.button("Turn on microphone").click()
            await expect(page.notice("The browser refused the microphone")).to_contain_text("Allow it for this page")
            await expect(page.button("Try again")).to_be_visible()
            await page.say("Hello")
            assert (await agent.next("text"))[0] == "Hello"
            await page.button("Dismiss").click()
            await expect(page.notice("The browser refused the microphone")).to_have_count(0)
            # The button that was pressed is gone; the focus is not.
            await expect(page.button("Turn on microphone")).to_be_focused()

    async def test_a_machine_without_a_microphone_is_said_to_have_none(self, house) -> None:
        page, _agent = await house.call(**ALLOWED)
        await page.button("Turn on microphone").click()
        await expect(page.notice("There is no microphone")).to_contain_text("Plug one in")

    async def test_a_page_over_plain_http_says_where_to_open_it_and_typing_goes_on(self, house_of) -> None:
        async with chromium("--host-resolver-rules=MAP greenroom.test 127.0.0.1") as browser:
            house = await house_of(browser=browser, allowed_hosts=("greenroom.test",), api_token="open-sesame")
            page = await house.visit(url=house.url.replace("127.0.0.1", "greenroom.test"))
            await page.give_token("open-sesame")
            await page.join()
            await page.connected()
            await page.button("Turn on microphone").click()
            notice = page.notice("This page may not use a microphone")
            await expect(notice).to_contain_text("http://greenroom.test")
            await expect(notice).to_contain_text("https")
            agent = await house.agent(await page.room_name())
            await page.say("Hello")
            assert (await agent.next("text"))[0] == "Hello"

    async def test_a_server_that_refuses_is_quoted_and_typing_goes_on(self, house_of, talking_browser) -> None:
        house = await house_of(browser=talking_browser, limits=Limits(pending_tracks=0))
        page, agent = await house.call(**ALLOWED)
        await page.button("Turn on microphone").click()
        await expect(page.notice("The server refused the microphone")).to_contain_text("more than 0 tracks")
        await page.say("Hello")
        assert (await agent.next("text"))[0] == "Hello"

    async def test_a_server_that_never_confirms_is_given_up(self, talking_house) -> None:
        page = await talking_house.visit(**ALLOWED)
        await page.page.route_web_socket("**/rtc/**", _without_confirmations)
        await page.page.reload()
        await page.join()
        await page.connected()
        await page.button("Turn on microphone").click()
        await expect(page.notice("Connecting the microphone")).to_be_visible()
        await expect(page.notice("The server did not take the microphone")).to_be_visible()
        agent = await talking_house.agent(await page.room_name())
        await page.say("Hello")
        assert (await agent.next("text"))[0] == "Hello"

    async def test_who_may_not_publish_is_told_before_and_during_a_call(self, talking_house) -> None:
        page, agent = await talking_house.call(**ALLOWED)
        (visitor,) = agent.room.remote_participants
        rooms = talking_house.server.rooms
        room = rooms.get(await page.room_name())
        may = rooms.get(room.name).participants[visitor].permission
        allowed = models.ParticipantPermission()
        allowed.CopyFrom(may)
        await page.button("Turn on microphone").click()
        await expect(page.button("Mute microphone")).to_be_visible()

        rooms.update_participant(room, visitor, permission=MAY_NOT_PUBLISH)
        await expect(page.notice("You may not speak in this room")).to_be_visible()
        await page.button("Dismiss").click()
        await page.button("Turn on microphone").click()
        await expect(page.notice("You may not speak in this room")).to_be_visible()
        rooms.update_participant(room, visitor, permission=allowed)
        await page.button("Turn on microphone").click()
        await expect(page.button("Mute microphone")).to_be_visible()


def _without_confirmations(socket) -> None:
    """Pass on what a server says, but for its word that a track is published."""
    server = socket.connect_to_server()

    def pass_on(message: str | bytes) -> None:
        if signal.SignalResponse.FromString(message).WhichOneof("message") != "track_published":
            socket.send(message)

    server.on_message(pass_on)


class TestTranscript:
    async def test_words_that_were_cut_short_end_where_the_agent_was_interrupted(self, house) -> None:
        page, agent = await house.call()
        writer = await agent.me.stream_text(topic="lk.transcription", attributes={"lk.segment_id": "SG_1"})
        await writer.write("We are open from nine to five.")
        await writer.aclose()
        await expect(page.said("from nine to five")).to_be_visible()

        content = [agent_session.ChatMessage.ChatContent(text="We are open")]
        said = agent_session.ChatMessage(role=agent_session.ASSISTANT, interrupted=True, content=content)
        item = agent_session.ChatContext.ChatItem(message=said)
        await tell(agent, conversation_item_added=agent_session.AgentSessionEvent.ConversationItemAdded(item=item))
        line = page.said("We are open", phase="interrupted")
        await expect(line).to_contain_text("interrupted")
        await expect(line).not_to_contain_text("from nine")


class TestLooks:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("width", [1280, 390])
    async def test_there_are_no_barriers_with_sound_on_and_a_menu_open(self, talking_house, width, scheme) -> None:
        viewport = {"width": width, "height": 720}
        page = await talking_house.visit(**ALLOWED, viewport=viewport, color_scheme=scheme)
        await page.join()
        await page.button("Turn on microphone").click()
        await expect(page.button("Mute microphone")).to_be_visible()
        (room,) = talking_house.server.rooms.list()
        agent = await talking_house.agent(room.name)
        async with tone(440) as track:
            await agent.me.publish_track(track, MIC)
            await moves(meter(page, "Level of front-desk"))
            assert await barriers(page.page) == []
            await page.button("Choose microphone").click()
            await expect(page.page.get_by_role("menu")).to_be_in_viewport(ratio=1)
            assert await barriers(page.page) == []
            assert await page.fits()

    async def test_the_keyboard_is_enough(self, talking_house) -> None:
        page, _agent = await talking_house.call(**ALLOWED)
        keyboard = page.page.keyboard
        await expect(page.message).to_be_focused()
        for _ in range(4):  # the speaker, the sound, the microphones, the microphone
            await keyboard.press("Shift+Tab")
        await expect(page.button("Turn on microphone")).to_be_focused()
        await keyboard.press("Enter")
        await expect(page.button("Mute microphone")).to_be_focused()
        await keyboard.press("Tab")
        await keyboard.press("Enter")
        await expect(page.page.get_by_role("menuitemradio", name="System default")).to_be_focused()
        await keyboard.press("Escape")
        await expect(page.button("Choose microphone")).to_be_focused()
