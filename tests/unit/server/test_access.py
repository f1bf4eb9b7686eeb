"""Who is let in, and which HTTP status the others get."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import pytest
from livekit.protocol import agent_dispatch, rtc
from livekit.protocol import room as room_pb

from greenroom._media import FakeEngine
from greenroom.config import ApiKey, Limits, RoomDefaults, ServerConfig
from greenroom.grants import VideoGrant, mint
from greenroom.server.room import RoomManager
from greenroom.server.signal._access import Admission, RefusedError, admit
from support.signal_client import encode_join_request, join_request

pytestmark = pytest.mark.unit

NOW = 1_700_000_000.0
KEY = ApiKey(key="devkey", secret="secret")


class Door:
    """A server's rooms at a fixed time, and a way to knock."""

    def __init__(self, *keys: ApiKey, **config: Any) -> None:
        settings = ServerConfig(keys=keys or (KEY,), **config)
        self.rooms = RoomManager(settings, FakeEngine(), lambda: NOW)

    def knock(
        self,
        token: str | None,
        query: dict[str, str] | None = None,
        *,
        request: rtc.JoinRequest | None = None,
        single: bool = True,
    ) -> Admission:
        headers = {"authorization": f"Bearer {token}"} if token is not None else {}
        wanted = encode_join_request(request or join_request())
        return admit(self.rooms, headers, {"join_request": wanted, **(query or {})}, single=single)

    def refusal(self, *arguments: Any, **options: Any) -> tuple[int, str]:
        with pytest.raises(RefusedError) as caught:
            self.knock(*arguments, **options)
        return caught.value.status, caught.value.message


def token(
    key: ApiKey = KEY, *, now: float = NOW, ttl: float = 600, video: dict[str, Any] | None = None, **claims: Any
) -> str:
    grant = VideoGrant(**{"room_join": True, "room": "lobby", **(video or {})})
    return mint(key, **{"identity": "alice", "video": grant, **claims}, now=now, ttl=ttl)


def test_a_good_token_is_let_in_with_all_its_claims():
    admission = Door().knock(token(name="Alice", metadata="m", attributes={"a": "1"}, kind="agent"))
    assert admission.room == "lobby"
    joining = admission.joining
    assert (joining.identity, joining.name, joining.metadata, joining.attributes) == ("alice", "Alice", "m", {"a": "1"})
    assert joining.dependent


def test_the_query_names_the_room_when_the_token_does_not():
    assert Door().knock(token(video={"room": ""}), {"room": "hall"}).room == "hall"
    assert Door().knock(token(), {"room": "hall"}).room == "lobby"


def test_a_browser_sends_its_token_in_the_query():
    assert Door().knock(None, {"access_token": token()}).joining.identity == "alice"


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "rubbish",
        token(ApiKey(key="devkey", secret="other")),
        token(ApiKey(key="stranger", secret="secret")),
        token(now=NOW - 3600, ttl=60),
        token(now=NOW + 3600),
    ],
    ids=["empty", "rubbish", "wrong-secret", "unknown-key", "expired", "not-yet"],
)
def test_a_bad_token_is_401(bad):
    assert Door().refusal(bad)[0] == 401


def test_a_clock_that_is_a_little_off_does_no_harm():
    assert Door().knock(token(now=NOW + 30))
    assert Door().knock(token(now=NOW - 610, ttl=600))


def test_no_token_or_no_permission_to_join_is_401():
    door = Door()
    assert door.refusal(None) == (401, "permissions denied")
    assert door.refusal(mint(KEY, identity="alice", now=NOW)) == (401, "permissions denied")
    assert door.refusal(token(video={"room_join": False})) == (401, "permissions denied")


def test_another_scheme_of_authorization_is_401_and_says_what_is_expected():
    with pytest.raises(RefusedError, match="Must start with Bearer") as caught:
        admit(Door().rooms, {"authorization": "Basic abc"}, {}, single=True)
    assert caught.value.status == 401


@pytest.mark.parametrize(
    "claims",
    [
        {"identity": ""},
        {"identity": "i" * 257},
        {"video": {"room": "r" * 257}},
        {"video": {"room": ""}},
        {"name": "n" * 257},
        {"metadata": "m" * 600_000},
        {"attributes": {"k": "v" * 70_000}},
    ],
    ids=["no-identity", "long-identity", "long-room", "no-room", "long-name", "metadata", "attributes"],
)
def test_unusable_claims_are_400(claims):
    status, body = Door().refusal(token(**claims))
    assert status == 400
    assert body


def test_lengths_at_the_limit_are_let_in():
    assert Door().knock(token(identity="i" * 256, video={"room": "r" * 256}, name="n" * 256))


def test_v1_needs_a_join_request():
    assert Door().refusal(token(), {"join_request": ""}) == (400, "join_request is required")


def test_an_unreadable_join_request_is_400():
    status, body = Door().refusal(token(), {"join_request": "%%%"})
    assert status == 400
    assert "base64" in body


def test_a_join_request_over_the_limit_is_400():
    door = Door(limits=Limits(join_request=1_000))
    assert door.refusal(token(), request=join_request(metadata="m" * 2_000))[0] == 400


def test_v0_without_a_join_request_is_404_and_never_looks_like_a_missing_room():
    status, body = Door().refusal(token(), {"join_request": ""}, single=False)
    assert status == 404
    assert "dual peer connection" in body
    assert "requested room does not exist" not in body


def test_v0_with_a_join_request_is_let_in():
    assert Door().knock(token(), single=False).room == "lobby"


class TestOwnMetadata:
    @pytest.mark.parametrize("wish", [{"metadata": "m"}, {"participant_attributes": {"a": "b"}}])
    def test_without_permission_it_is_401(self, wish):
        assert Door().refusal(token(), request=join_request(**wish))[0] == 401

    def test_with_permission_it_is_laid_over_the_tokens(self):
        request = join_request(metadata="mine", participant_attributes={"b": "2"})
        allowed = token(video={"can_update_own_metadata": True}, metadata="theirs", attributes={"a": "1", "b": "1"})
        joining = Door().knock(allowed, request=request).joining
        assert (joining.metadata, joining.attributes) == ("mine", {"a": "1", "b": "2"})


class TestRooms:
    def test_an_unknown_room_is_404_when_rooms_are_not_made_by_joining(self):
        door = Door(room=RoomDefaults(auto_create=False))
        assert door.refusal(token()) == (404, "requested room does not exist")
        assert door.knock(token(video={"room_create": True})).room == "lobby"

    async def test_a_known_one_is_not(self):
        door = Door(room=RoomDefaults(auto_create=False))
        door.rooms.create("lobby")
        assert door.knock(token()).room == "lobby"

    async def test_a_full_room_is_503_and_says_so(self):
        door = Door()
        await door.rooms.engine.start(door.rooms.on_events)
        room = door.rooms.create("lobby", request=room_pb.CreateRoomRequest(max_participants=1))
        door.rooms.join(room, door.knock(token()).joining, _Port())
        assert door.refusal(token(identity="bob")) == (503, "room has exceeded its max participants")
        assert door.knock(token(identity="alice"))


class TestKeyPolicy:
    def test_a_key_only_opens_its_rooms(self):
        key = ApiKey(key="k", secret="s", rooms=("front-*",))
        door = Door(key)
        status, body = door.refusal(token(key))
        assert status == 401
        assert "API key" in body
        assert door.knock(token(key, video={"room": "front-1"})).room == "front-1"

    def test_it_binds_the_room_in_the_query_too(self):
        key = ApiKey(key="k", secret="s", rooms=("front-*",))
        assert Door(key).refusal(token(key, video={"room": ""}), {"room": "back"})[0] == 401

    def test_a_key_only_brings_its_agents(self):
        key = ApiKey(key="k", secret="s", agents=("front-*",))

        def asking_for(agent: str) -> str:
            dispatch = agent_dispatch.RoomAgentDispatch(agent_name=agent)
            return token(key, room_config=room_pb.RoomConfiguration(agents=[dispatch]))

        assert Door(key).refusal(asking_for("back-office"))[0] == 401
        assert Door(key).knock(asking_for("front-desk"))


@pytest.mark.parametrize(
    ("settings", "browser", "lite"), [({}, "", True), ({"disable_ice_lite": True}, "", False), ({}, "firefox", False)]
)
def test_ice_lite_is_used_unless_the_client_cannot(settings, browser, lite):
    request = join_request()
    request.connection_settings.MergeFrom(rtc.ConnectionSettings(**settings))
    request.client_info.browser = browser
    assert Door().knock(token(), request=request).lite is lite


def test_the_query_of_a_go_client_is_read_despite_its_empty_parameter():
    assert dict(parse_qsl("version=2&protocol=17&&auto_subscribe=0")) == {
        "version": "2",
        "protocol": "17",
        "auto_subscribe": "0",
    }


class _Port:
    def send(self, message: object) -> None:
        pass

    def close(self) -> None:
        pass

    async def wait_closed(self) -> None:
        pass
