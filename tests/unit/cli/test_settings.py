"""Options, environment, file and defaults become one configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from greenroom.cli._options import CallOptions, ServerOptions
from greenroom.cli._settings import api_keys, call_target, server_config
from greenroom.config import ApiKey, ServerConfig, WebhookSettings
from greenroom.errors import ConfigError

pytestmark = pytest.mark.unit

DEVELOPMENT = ApiKey(key="devkey", secret="secret")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def config(environment: dict[str, str] | None = None, **options: object) -> ServerConfig:
    return server_config(ServerOptions(**options), environment or {})  # type: ignore[arg-type]


def test_nothing_given_is_the_development_key_on_loopback() -> None:
    assert config() == ServerConfig(keys=(DEVELOPMENT,))


def test_options_win_over_the_environment_and_that_over_the_file() -> None:
    Path("greenroom.toml").write_text('bind = "127.0.0.3"\nport = 3\nrtc_port = 33\ndata_dir = "three"\n')
    environment = {"GREENROOM_BIND": "127.0.0.2", "GREENROOM_PORT": "2"}
    assert config(environment, bind="127.0.0.1") == ServerConfig(
        keys=(DEVELOPMENT,), bind="127.0.0.1", port=2, rtc_port=33, data_dir=Path("three")
    )


def test_everything_can_come_from_the_environment() -> None:
    environment = {
        "GREENROOM_KEY": "one:first, two:second",
        "GREENROOM_BIND": "::",
        "GREENROOM_PORT": "0",
        "GREENROOM_RTC_PORT": "7",
        "GREENROOM_NODE_IP": "203.0.113.7,2001:db8::7",
        "GREENROOM_DATA_DIR": "/srv/data",
    }
    assert config(environment) == ServerConfig(
        keys=(ApiKey(key="one", secret="first"), ApiKey(key="two", secret="second")),
        bind="::",
        port=0,
        rtc_port=7,
        node_ip=("203.0.113.7", "2001:db8::7"),
        data_dir=Path("/srv/data"),
    )


def test_a_file_gives_keys_their_policy_and_rooms_their_defaults() -> None:
    Path("mine.toml").write_text(
        "[keys.front]\nsecret = 's'\nagents = ['front-*']\nrooms = []\n[room]\nempty_timeout = 9\n"
        "[agent]\ndispatch_deadline = 5\n[limits]\nrooms = 3\n"
    )
    found = config(config=Path("mine.toml"))
    assert found.keys == (ApiKey(key="front", secret="s", agents=("front-*",), rooms=()),)
    assert (found.room.empty_timeout, found.agent.dispatch_deadline, found.limits.rooms) == (9, 5.0, 3)
    assert found.room.departure_timeout == 20


def test_a_json_file_says_the_same() -> None:
    Path("mine.json").write_text(json.dumps({"keys": {"front": {"secret": "s", "agents": ["a"]}}, "port": 1}))
    found = config({"GREENROOM_CONFIG": "mine.json"})
    assert found.keys == (ApiKey(key="front", secret="s", agents=("a",)),)
    assert found.port == 1


def test_a_key_on_the_command_line_replaces_those_of_the_file() -> None:
    Path("greenroom.toml").write_text("[keys.front]\nsecret = 's'\n")
    assert api_keys(ServerOptions(key=["mine:own"]), {}) == (ApiKey(key="mine", secret="own"),)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("port = 'high'", r"Expected `int`, got `str` - at `\$\.port`"),
        ("prot = 1", "unknown field `prot`"),
        ("[keys.front]\nsecrets = 's'", r"at `\$\.keys"),
        ("[room]\nempty = 1", r"unknown field `empty` - at `\$\.room`"),
        ("port = ", "'greenroom.toml' is not a usable configuration"),
        ("port = 99999", "--port 99999 is not a port"),
        ("[limits]\nrooms = -1", r"Expected `int` >= 1 - at `\$\.limits\.rooms`"),
        ("[room]\nempty_timeout = 5_000_000_000", r"Expected `int` <= 4294967295 - at `\$\.room\.empty_timeout`"),
        ("[agent]\ndispatch_deadline = 0", r"Expected `float` > 0.0 - at `\$\.agent\.dispatch_deadline`"),
        ("[agent]\nregister_timeout = inf", r"Expected `float` <= 1000000000.0"),
        ("[agent]\nregister_timeout = nan", r"at `\$\.agent\.register_timeout`"),
        ("[keys.front]\nsecret = ''", "An API key has no name or no secret"),
    ],
)
def test_an_unusable_file_says_where(content: str, said: str) -> None:
    Path("greenroom.toml").write_text(content)
    with pytest.raises(ConfigError, match=said):
        config()


def test_a_file_that_cannot_be_read_says_so() -> None:
    Path("greenroom.toml").mkdir()
    with pytest.raises(ConfigError, match=r"Cannot read 'greenroom\.toml': Is a directory"):
        config()


@pytest.mark.parametrize(
    ("environment", "options", "said"),
    [
        ({"GREENROOM_PORT": "http"}, {}, "GREENROOM_PORT is 'http', not a number"),
        ({}, {"node_ip": ["example.org"]}, "'example.org' is not an IP address"),
        (
            {},
            {"node_ip": ["2001:db8::7"]},
            r"No client reaches --node-ip 2001:db8::7: --bind 127\.0\.0\.1 listens on IPv4",
        ),
        ({}, {"bind": "::1", "node_ip": ["203.0.113.7"]}, r"--bind ::1 listens on IPv6 only"),
        ({}, {"config": Path("nowhere.toml")}, r"'nowhere\.toml' does not exist"),
        ({}, {"key": ["a:b", "a:c"]}, "API key 'a' is given twice"),
        ({"GREENROOM_KEY": "hunter2"}, {}, "--key takes KEY:SECRET"),
        ({}, {"bind": "0.0.0.0"}, r"Refusing to listen on 0\.0\.0\.0 with the development key"),
    ],
)
def test_wrong_values_are_named(environment: dict[str, str], options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config(environment, **options)


def test_no_error_repeats_a_secret() -> None:
    Path("greenroom.toml").write_text("[keys]\nfront = 'hunter2'\n")
    with pytest.raises(ConfigError) as caught:
        config()
    assert "hunter2" not in str(caught.value)


def target(environment: dict[str, str] | None = None, **options: object) -> tuple[str, str]:
    called = call_target(CallOptions(**options), environment or {})  # type: ignore[arg-type]
    return called.url, f"{called.key.key}:{called.key.secret}"


def test_a_call_goes_to_the_development_server_by_default() -> None:
    assert target() == ("ws://127.0.0.1:7880", "devkey:secret")


def test_a_call_goes_where_the_server_of_this_directory_listens() -> None:
    Path("greenroom.toml").write_text('port = 9000\n[keys.front]\nsecret = "long"\n')
    assert target() == ("ws://127.0.0.1:9000", "front:long")
    assert target({"GREENROOM_PORT": "9001", "GREENROOM_KEY": "a:b"}) == ("ws://127.0.0.1:9001", "a:b")
    assert target({"GREENROOM_PORT": "0"}) == ("ws://127.0.0.1:7880", "front:long")


def test_what_livekit_tools_read_goes_before_and_options_before_that() -> None:
    environment = {
        "LIVEKIT_URL": "wss://rooms.example/",
        "LIVEKIT_API_KEY": "k",
        "LIVEKIT_API_SECRET": "s",
        "GREENROOM_KEY": "a:b",
    }
    assert target(environment) == ("wss://rooms.example", "k:s")
    assert target(environment, url="http://h:1/base/", key=["x:y"]) == ("ws://h:1/base", "x:y")


@pytest.mark.parametrize("missing", ["LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"])
def test_half_a_key_is_refused(missing: str) -> None:
    environment = {"LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": "s"}
    del environment[missing]
    with pytest.raises(ConfigError, match=rf"is set, {missing} is not"):
        target(environment)


@pytest.mark.parametrize(
    "url", ["localhost:7880", "ftp://h", "ws://", "ws://h:port", "ws://h:0", "ws://me:you@h", "[", " "]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="is not an address"):
        target(url=url)


class TestWebhooks:
    def test_urls_come_from_options_environment_and_file_and_the_rest_from_the_file(self) -> None:
        Path("greenroom.toml").write_text('[webhook]\nurls = ["http://file"]\nexclude = ["track_*"]\n')
        environment = {"GREENROOM_WEBHOOK": "http://one/x, https://two"}
        assert config().webhook == WebhookSettings(urls=("http://file",), exclude=("track_*",))
        assert config(environment).webhook.urls == ("http://one/x", "https://two")
        chosen = config(environment, webhook=["http://option"], webhook_allow_private=True).webhook
        assert chosen == WebhookSettings(urls=("http://option",), exclude=("track_*",), allow_private=True)

    @pytest.mark.parametrize("url", ["example.com", "ftp://h/", "http://", "http://h:0", "http://h:x", "http://ü/"])
    def test_what_is_not_a_url_is_refused_at_the_start(self, url: str) -> None:
        with pytest.raises(ConfigError, match="is not a URL"):
            config(webhook=[url])

    def test_a_password_in_a_url_is_refused_and_not_repeated(self) -> None:
        with pytest.raises(ConfigError) as caught:
            config(webhook=["https://user:hush@example.com/x"])
        assert "example.com" in str(caught.value)
        assert "hush" not in str(caught.value)

    def test_a_key_that_is_not_there_cannot_sign(self) -> None:
        Path("greenroom.toml").write_text('[webhook]\napi_key = "other"\n')
        with pytest.raises(ConfigError, match="'other', which is not configured"):
            config()

    def test_patterns_choose_the_events(self) -> None:
        chosen = WebhookSettings(include=("room_*", "track_published"), exclude=("room_finished",))
        names = ["room_started", "room_finished", "track_published", "track_unpublished"]
        assert [chosen.wants(name) for name in names] == [True, False, True, False]
        assert WebhookSettings().wants("anything")
