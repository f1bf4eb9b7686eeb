"""``greenroom token``."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from greenroom.cli import main
from greenroom.cli._settings import parse_duration
from greenroom.cli.token import parse_grants
from greenroom.config import ApiKey
from greenroom.errors import ConfigError
from greenroom.grants import Claims, SipGrant, VideoGrant, verify

pytestmark = pytest.mark.unit

DEVELOPMENT = ApiKey(key="devkey", secret="secret")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GREENROOM_KEY", raising=False)


def claims(capsys: pytest.CaptureFixture[str], *arguments: str, key: ApiKey = DEVELOPMENT) -> Claims:
    assert main(["token", *arguments]) == 0
    return verify(capsys.readouterr().out.strip(), [key]).claims


def test_a_room_is_joined(capsys: pytest.CaptureFixture[str]) -> None:
    said = claims(capsys, "--room", "lobby", "--identity", "ada", "--name", "Ada", "--metadata", "{}")
    assert (said.identity, said.name, said.metadata) == ("ada", "Ada", "{}")
    assert said.video == VideoGrant(room_join=True, room="lobby")
    assert said.room_config is None


def test_an_identity_is_made_up_for_who_joins_without(capsys: pytest.CaptureFixture[str]) -> None:
    assert claims(capsys, "--room", "lobby").identity.startswith("caller-")
    assert claims(capsys, "--grant", "roomList").identity == ""


def test_agents_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    said = claims(capsys, "--room", "lobby", "--agent", "desk", "--agent", 'cook={"soup": "a=b"}')
    assert said.room_config is not None
    assert [(each.agent_name, each.metadata) for each in said.room_config.agents] == [
        ("desk", ""),
        ("cook", '{"soup": "a=b"}'),
    ]


def test_attributes_are_carried(capsys: pytest.CaptureFixture[str]) -> None:
    said = claims(capsys, "--room", "lobby", "--attribute", "language=en", "--attribute", "plan=a=b")
    assert said.attributes == {"language": "en", "plan": "a=b"}


def test_another_key_signs(capsys: pytest.CaptureFixture[str]) -> None:
    own = ApiKey(key="own", secret="s" * 40)
    assert claims(capsys, "--room", "lobby", "--key", f"own:{own.secret}", key=own).issuer == "own"


def test_json_says_what_the_token_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "--room", "lobby", "--identity", "ada", "--ttl", "15m", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    inside = verify(said.pop("token"), [DEVELOPMENT]).claims
    assert said == {"identity": "ada", "room": "lobby", "expires_at": inside.expires_at}
    assert 0 < said["expires_at"] - time.time() <= 900


@pytest.mark.parametrize(
    ("texts", "room", "expected"),
    [
        ([], "r", {"video": VideoGrant(room_join=True, room="r")}),
        (
            ["roomAdmin", "canPublish=false"],
            "r",
            {"video": VideoGrant(room_join=True, room="r", room_admin=True, can_publish=False)},
        ),
        (["roomJoin=false", "hidden=True"], "r", {"video": VideoGrant(room="r", hidden=True)}),
        (["room_list"], None, {"video": VideoGrant(room_list=True)}),
        (["sip.call"], None, {"sip": SipGrant(call=True)}),
        (
            ["canPublishSources=camera,microphone"],
            None,
            {"video": VideoGrant(can_publish_sources=("camera", "microphone"))},
        ),
    ],
)
def test_grants_are_livekit_s(texts: list[str], room: str | None, expected: dict[str, object]) -> None:
    assert parse_grants(texts, room) == expected


@pytest.mark.parametrize("text", ["roomAdmn", "video.", "sip.roomAdmin", "nothing.admin", "hidden=maybe", "=true"])
def test_what_is_no_grant_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--grant"):
        parse_grants([text], None)


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("6h", 21600), ("1d", 86400)])
def test_durations_have_units(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "h", "1w", "-1", "1.5h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize("option", ["--room", "--identity"])
def test_an_unset_variable_does_not_widen_a_token(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "--grant", "roomJoin", option, ""]) == 2
    assert f"{option} is empty" in capsys.readouterr().err


def test_an_attribute_without_a_value_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "--room", "r", "--attribute", "language"]) == 2
    assert "--attribute takes NAME=VALUE, not 'language'" in capsys.readouterr().err
