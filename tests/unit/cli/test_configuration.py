"""Every setting can be said in the file, in the environment and, where there is one, by an option."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

from greenroom.cli import main
from greenroom.cli._app import app
from greenroom.cli._configuration import read_configuration
from greenroom.cli._options import ControlOptions, DevOptions, PoolOptions, PoolWays, ServerOptions
from greenroom.cli._pool_settings import POOL_FLAGS, pool_configuration, pool_settings
from greenroom.cli._schema import ConfigFile, Setting, settings
from greenroom.cli._settings import CONTROL_FLAGS, SERVER_FLAGS, record_of, server_config, server_configuration
from greenroom.config import ApiKey, RecordSettings, ServerConfig
from greenroom.errors import ConfigError
from greenroom.pool.settings import BreakerSettings, PoolSettings, TenantSettings

pytestmark = pytest.mark.unit

BY_NAME = {setting.name: setting for setting in settings()}
#: What differs from every default, by type.
SAMPLES: dict[Any, Any] = {bool: None, int: 7, float: 0.75, str: "other"}
TABLES = {
    "keys": {"front": {"secret": "s", "agents": ["front-*"]}},
    "pool.agents": {"front-desk": {"placement": "tenant", "policies": {"silent": 3.0}}},
    "tenants.known": {"acme": {"max_sessions": 3}},
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def sample(setting: Setting) -> Any:
    if setting.name in TABLES:
        return TABLES[setting.name]
    kind = setting.kind
    while typing.get_origin(kind) in (Annotated, typing.Union, types.UnionType):
        kind = next(each for each in typing.get_args(kind) if each is not type(None))
    if typing.get_origin(kind) is typing.Literal:
        return next(word for word in typing.get_args(kind) if word != setting.default)
    if typing.get_origin(kind) is tuple:
        return ["one", "two"]
    if typing.get_origin(kind) is dict:
        return {"a": 3}
    return not setting.default if kind is bool else SAMPLES[kind]


def nested(name: str, value: Any) -> dict[str, Any]:
    for part in reversed(name.split(".")):
        value = {part: value}
    return typing.cast("dict[str, Any]", value)


def in_force(name: str, whole: ConfigFile) -> Any:
    here: Any = whole
    for part in name.split("."):
        here = getattr(here, part)
    return here


def merged(found: Any, value: Any) -> Any:
    """Return what was found with what was said put over it: what was not said has its default."""
    if isinstance(found, dict) and isinstance(value, dict):
        return found | {name: merged(found[name], each) for name, each in value.items()}
    return value


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_every_setting_can_stand_in_the_file(name: str) -> None:
    value = sample(BY_NAME[name])
    Path("greenroom.json").write_text(json.dumps(nested(name, value)))
    said = read_configuration(Path("greenroom.json"), {})
    assert said.get(name) == value
    assert said.origins == {name: "greenroom.json"}
    assert in_force(name, said.whole()) is not None


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_every_setting_can_stand_in_the_environment_and_goes_before_the_file(name: str) -> None:
    setting = BY_NAME[name]
    value = sample(setting)
    default = setting.default if setting.default is not None and name not in TABLES else value
    Path("greenroom.json").write_text(msgspec.json.encode(nested(name, default)).decode())
    text = value if isinstance(value, str) else json.dumps(value)
    for variable in setting.variables:
        said = read_configuration(Path("greenroom.json"), {variable: text})
        found = said.get(name)
        assert merged(found, value) == found
        assert said.origins[name] == variable


def test_no_two_settings_share_a_variable_but_livekits() -> None:
    variables = [each for setting in settings() for each in setting.variables if not each.startswith("LIVEKIT_")]
    assert len(variables) == len(set(variables))


def test_every_field_of_what_a_pool_is_told_is_a_setting() -> None:
    own = {"key": "keys", "log_level": "log.level", "tenants": "tenants.file", "cli_address": ""}
    for field in PoolSettings.__struct_fields__:
        name = own.get(field, f"pool.{field}")
        assert not name or any(each == name or each.startswith(f"{name}.") for each in BY_NAME), field


def test_every_field_of_what_a_server_and_a_record_are_told_is_a_setting() -> None:
    for field in ServerConfig.__struct_fields__:
        assert any(each == field or each.startswith(f"{field}.") for each in BY_NAME), field
    renamed = {"retention": "keep"}
    for field in RecordSettings.__struct_fields__:
        assert f"control.{renamed.get(field, field)}" in BY_NAME, field


@pytest.mark.parametrize(
    ("flags", "kinds", "apart"),
    [
        (SERVER_FLAGS, (ServerOptions, DevOptions), {"key", "config"}),
        (CONTROL_FLAGS, (ControlOptions,), {"key", "config"}),
        (
            POOL_FLAGS,
            (PoolOptions, PoolWays),
            {"key", "config", "api_key", "api_secret", "cli_addr", "reload_addr", "simulation"},
        ),
    ],
)
def test_every_option_stands_for_a_setting(flags: dict[str, str], kinds: tuple[Any, ...], apart: set[str]) -> None:
    fields = {field.name for kind in kinds for field in dataclasses.fields(kind)}
    assert fields - apart == set(flags)
    assert set(flags.values()) <= set(BY_NAME)


def test_options_win_over_the_environment_and_that_over_the_file() -> None:
    Path("greenroom.toml").write_text("[pool]\nshards = 1\nmax_sessions = 1\nport = 1\n")
    environment = {"GREENROOM_POOL_SHARDS": "2", "GREENROOM_POOL_MAX_SESSIONS": "2"}
    said = pool_configuration((), PoolOptions(shards=3), PoolWays(), environment)
    found = pool_settings(said, PoolOptions(), environment)
    assert (found.shards, found.max_sessions, found.port) == (3, 2, 1)
    assert [said.origins[f"pool.{name}"] for name in ("shards", "max_sessions", "port")] == [
        "--shards",
        "GREENROOM_POOL_MAX_SESSIONS",
        "greenroom.toml",
    ]


def test_a_pool_finds_its_server_key_and_paths_where_other_commands_do() -> None:
    Path("greenroom.toml").write_text(
        'port = 9000\nobservability_url = "http://c"\n[keys.k]\nsecret = "s"\n[pool]\npaths = ["a.py"]\n'
    )
    found = pool_settings(pool_configuration((), PoolOptions(), PoolWays(), {}), PoolOptions(), {})
    assert (found.url, found.key, found.paths) == ("ws://127.0.0.1:9000", ApiKey(key="k", secret="s"), (Path("a.py"),))
    assert found.observability == "http://c"
    environment = {"LIVEKIT_URL": "wss://rooms.example/", "LIVEKIT_API_KEY": "a", "LIVEKIT_API_SECRET": "b"}
    said = pool_configuration([Path("b.py")], PoolOptions(), PoolWays(), environment)
    found = pool_settings(said, PoolOptions(), environment)
    assert (found.url, found.key, found.paths) == (
        "wss://rooms.example",
        ApiKey(key="a", secret="b"),
        (Path("b.py"),),
    )


def test_the_words_of_livekits_own_command_are_understood() -> None:
    options = PoolOptions(
        url="ws://h:1", api_key="k", api_secret="s", log_level="warn", log_format="colored", reload_addr="127.0.0.1:9"
    )
    said = pool_configuration([Path("a.py")], options, PoolWays(dev=True), {})
    found = pool_settings(said, options, {})
    assert (found.url, found.key, found.log_level) == ("ws://h:1", ApiKey(key="k", secret="s"), "WARNING")
    assert (found.dev, found.watch, found.cli_address) == (True, False, "127.0.0.1:9")
    assert said.get("log.format") == "text"


@pytest.mark.parametrize(
    ("dev", "watch", "watches"), [(True, None, True), (False, None, False), (True, False, False), (False, True, True)]
)
def test_saves_are_watched_in_development_unless_said(dev: bool, watch: bool | None, watches: bool) -> None:
    said = pool_configuration((), PoolOptions(), PoolWays(dev=dev), {}, watch=watch)
    assert pool_settings(said, PoolOptions(), {}).watch is watches


def test_a_variable_of_openrtc_counts_after_greenrooms() -> None:
    said = read_configuration(None, {"OPENRTC_PORT": "1", "OPENRTC_MAX_CONCURRENT_SESSIONS": "5"})
    assert (said.get("pool.port"), said.get("pool.max_sessions")) == (1, 5)
    assert read_configuration(None, {"OPENRTC_PORT": "1", "GREENROOM_POOL_PORT": "2"}).get("pool.port") == 2


def test_openrtcs_isolation_is_a_placement() -> None:
    for said, placement in (("process", "dedicated"), ("coroutine", "shared"), ("tenant", "tenant")):
        assert read_configuration(None, {"OPENRTC_ISOLATION": said}).get("pool.placement") == placement
    told = pool_configuration((), PoolOptions(), PoolWays(placement="tenant"), {"OPENRTC_ISOLATION": "process"})
    assert pool_settings(told, PoolOptions(), {}).placement == "tenant"
    with pytest.raises(ConfigError, match="OPENRTC_ISOLATION is not usable: Invalid enum value 'thread'"):
        read_configuration(None, {"OPENRTC_ISOLATION": "thread"})
    with pytest.raises(ConfigError, match="--placement thread is not usable"):
        pool_configuration((), PoolOptions(), PoolWays(placement="thread"), {})


def test_a_limit_can_be_taken_away() -> None:
    assert read_configuration(None, {"GREENROOM_POOL_POLICIES_SOLO": "never"}).get("pool.policies.solo") == "never"
    assert read_configuration(None, {"GREENROOM_POOL_POLICIES_SOLO": "9"}).get("pool.policies.solo") == 9.0


def test_a_breaker_is_the_programs_until_somebody_says_something_of_it() -> None:
    assert read_configuration(None, {}).whole().pool.breaker is None
    said = read_configuration(None, {"GREENROOM_POOL_BREAKER_ENABLED": "no"})
    assert said.whole().pool.breaker == BreakerSettings(enabled=False)
    Path("greenroom.toml").write_text("[pool.breaker]\n")
    assert read_configuration(None, {}).whole().pool.breaker == BreakerSettings()


def test_dev_and_control_keep_the_record_as_the_same_section_says() -> None:
    Path("greenroom.toml").write_text('[control]\nkeep = "30d"\nobserve = "always"\n')
    said = server_configuration(DevOptions(log_key=Path("k")), {"GREENROOM_CONTROL_COMPARE": "5"})
    assert record_of(said) == RecordSettings(retention=2_592_000.0, observe="always", log_key=Path("k"), compare=5.0)
    with pytest.raises(ConfigError, match="--keep 'long' is not a duration"):
        record_of(server_configuration(DevOptions(keep="long"), {}))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[pool]\nshardz = 1", r"unknown field `shardz` - at `\$\.pool`\. 'shards' perhaps\? pool takes url, paths"),
        ("[pool.agents.a]\nx = 1", r"pool\.agents\.NAME takes max_sessions, placement"),
        ("[pool.watchdog]\nkill = 0", r"> 0\.0 - at `\$\.pool\.watchdog\.kill`"),
        ("[control]\nobserve = 'now'", r"Invalid enum value 'now' - at `\$\.control\.observe`"),
        ("[pool]\nbreaker = false", r"at `\$\.pool\.breaker`"),
        ("pot = 1", "'port' perhaps"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_what_may_stand_there(content: str, said: str) -> None:
    Path("greenroom.toml").write_text(content)
    with pytest.raises(ConfigError, match=said):
        read_configuration(None, {})


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("GREENROOM_POOL_SHARDS", "many", "GREENROOM_POOL_SHARDS is 'many', not a number"),
        ("GREENROOM_POOL_SHARDS", "-1", "GREENROOM_POOL_SHARDS: Expected `int` >= 0"),
        ("GREENROOM_POOL_WATCH", "perhaps", "neither true nor false"),
        ("GREENROOM_LOG_FORMAT", "xml", "GREENROOM_LOG_FORMAT is not usable"),
        ("GREENROOM_KEYS", '{"front": {"secret": 5}}', "GREENROOM_KEYS is not usable"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(variable: str, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_configuration(None, {variable: text})


def test_a_mistake_in_an_option_names_the_option() -> None:
    with pytest.raises(ConfigError, match="--shards -1 is not usable"):
        pool_configuration((), PoolOptions(shards=-1), PoolWays(), {})


def test_keys_can_come_with_their_policy_from_the_environment() -> None:
    environment = {"GREENROOM_KEYS": '{"front": {"secret": "s", "rooms": ["lobby-*"]}}'}
    assert server_config(ServerOptions(), environment).keys == (ApiKey(key="front", secret="s", rooms=("lobby-*",)),)


class TestCommands:
    def test_show_says_what_is_in_force_who_says_so_and_no_secret(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Path("greenroom.toml").write_text(
            '[keys.front]\nsecret = "hush"\n[tenants.known.acme]\nproviders = { llm = { api_key = "hush" } }\n'
            '[client]\ntoken = "hush"\n'
        )
        monkeypatch.setenv("GREENROOM_POOL_SHARDS", "4")
        assert main(["config", "show", "--json"]) == 0
        shown = capsys.readouterr().out
        assert "hush" not in shown
        found = json.loads(shown)
        assert set(found) == set(BY_NAME)
        assert found["pool.shards"] == {"value": 4, "origin": "GREENROOM_POOL_SHARDS"}
        assert found["pool.max_sessions"] == {"value": 50, "origin": "default"}
        assert found["keys"] == {"value": {"front": {"secret": "********"}}, "origin": "greenroom.toml"}
        assert main(["config", "show"]) == 0
        assert "pool.shards    4  (GREENROOM_POOL_SHARDS)" in capsys.readouterr().out

    def test_show_masks_keys_of_the_environment(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GREENROOM_KEY", "mine:hush")
        assert main(["config", "show", "--json"]) == 0
        out = capsys.readouterr().out
        assert "hush" not in out
        assert json.loads(out)["keys"] == {"value": {"mine": {"secret": "********"}}, "origin": "GREENROOM_KEY"}

    def test_check_is_content_or_names_the_mistake(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Path("mine.toml").write_text("[pool]\nshards = 2\n")
        monkeypatch.setenv("GREENROOM_POOL_SHARD", "4")
        assert main(["config", "check", "mine.toml"]) == 0
        out = capsys.readouterr().out
        assert "GREENROOM_POOL_SHARD is no setting; GREENROOM_POOL_SHARDS perhaps?" in out
        assert "'mine.toml' is in order" in out
        Path("mine.toml").write_text('[control]\nkeep = "long"\n')
        assert main(["config", "check", "mine.toml"]) == 2
        assert "control.keep 'long' is not a duration" in capsys.readouterr().err

    def test_the_schema_describes_every_section(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["config", "schema"]) == 0
        schema = json.loads(capsys.readouterr().out)
        assert set(schema["$defs"]["ConfigFile"]["properties"]) == set(ConfigFile.__struct_fields__)

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["agents"], "No agents are named"),
            (["start", "nowhere.py"], "'nowhere.py' does not exist"),
            (["agents", ".", "--api-key", "k"], "--api-key and --api-secret belong together"),
            (["agents", ".", "--url", "nonsense"], "--url 'nonsense' is not an address"),
        ],
    )
    def test_a_pool_that_cannot_run_says_why(
        self, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(arguments) == 2
        assert said in capsys.readouterr().err

    def test_both_names_of_the_command_take_the_same(self) -> None:
        assert app["start"] is app["agents"]


def test_a_tenant_of_the_configuration_has_no_secret_in_its_words() -> None:
    Path("greenroom.toml").write_text('[tenants.known.acme]\nproviders = { llm = { api_key = "hush" } }\n')
    (acme,) = read_configuration(None, {}).whole().tenants.known.values()
    assert isinstance(acme, TenantSettings)
    assert "hush" not in repr(acme)


def test_a_pool_with_the_development_key_listens_on_loopback_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = {"GREENROOM_KEY": f"own:{'x' * 32}"}
    options = PoolOptions(host="0.0.0.0")
    with pytest.raises(ConfigError, match=r"Refusing to listen on 0\.0\.0\.0 with the development key"):
        pool_settings(pool_configuration((), options, PoolWays(), {}), options, {})
    assert pool_settings(pool_configuration((), options, PoolWays(), own), options, own).host == "0.0.0.0"
