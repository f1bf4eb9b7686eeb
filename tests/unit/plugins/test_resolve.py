"""From an id to a part: who is asked, what is passed on, and what is said when that does not work."""

from __future__ import annotations

import logging
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from greenroom.errors import ConfigError
from greenroom.plugins import Kind, Plugin, PluginError, Registry, Source, UnknownIdError, parse, prepare, resolve
from support.plugin_package import install, install_livekit_plugin

pytestmark = pytest.mark.unit

SECRET = "sk-very-secret-1234"
LIVEKIT_PLUGIN = """
from livekit.agents import llm, stt, tts

class STT(stt.STT):
    def __init__(self, *, model="small", language="en", api_key=None):
        super().__init__(capabilities=stt.STTCapabilities(streaming=False, interim_results=False))
        self.said = dict(model=model, language=language, api_key=api_key)

    async def _recognize_impl(self, buffer, **_): ...

class TTS(tts.TTS):
    def __init__(self, *, voice_id="ann", **options):
        super().__init__(capabilities=tts.TTSCapabilities(streaming=False), sample_rate=16000, num_channels=1)
        self.said = dict(voice_id=voice_id, **options)

    def synthesize(self, text, **_): ...
"""


class Disk:
    """A store that remembers how it was made."""

    def __init__(self, **said: Any) -> None:
        self.said = said

    async def put(self, name: str, data: bytes) -> None: ...
    async def get(self, name: str) -> bytes | None: ...
    async def delete(self, name: str) -> bool: ...
    async def names(self, prefix: str = "", *, after: str = "", limit: int = 1000) -> list[str]: ...
    async def aclose(self) -> None: ...


def registry_of(plugin: Plugin) -> Registry:
    registry = Registry()
    registry.add(plugin, Source("acme", "1.0"))
    return registry


@pytest.mark.parametrize(
    ("kind", "text", "parts"),
    [
        (Kind.STT, "deepgram/nova-3", ("deepgram", "nova-3", "")),
        (Kind.STT, "deepgram/nova-3:de", ("deepgram", "nova-3", "de")),
        (Kind.TTS, "cartesia/sonic-3:a-b-c", ("cartesia", "sonic-3", "a-b-c")),
        (Kind.TTS, "flite:slt", ("flite", "", "slt")),
        (Kind.LLM, "ollama/llama3:8b", ("ollama", "llama3:8b", "")),
        (Kind.LLM, "google/gemma/2b", ("google", "gemma/2b", "")),
        (Kind.TOOL, " weather ", ("weather", "", "")),
    ],
)
def test_an_id_is_a_provider_a_model_and_a_language_or_voice(kind: Kind, text: str, parts: tuple[str, ...]) -> None:
    found = parse(kind, text)
    assert (found.provider, found.model, found.variant) == parts


@pytest.mark.parametrize("text", ["", " ", "/nova", "deepgram/", ":de", "deep gram/x"])
def test_what_is_no_id_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(PluginError, match=r"is no id of a plugin. For example: deepgram/nova-3"):
        parse(Kind.STT, text)


def test_an_exact_id_goes_before_its_provider_which_is_told_the_model() -> None:
    plugin = Plugin()
    plugin.store("acme/tape")(lambda **said: Disk(by="tape", **said))
    plugin.store("acme")(lambda **said: Disk(by="acme", **said))
    registry = registry_of(plugin)
    assert resolve("store", "acme/tape", plugins=registry).said == {"by": "tape"}
    assert resolve("store", "acme/disk", plugins=registry).said == {"by": "acme", "model": "disk"}
    assert resolve("store", "acme", plugins=registry).said == {"by": "acme"}


def test_options_go_on_and_are_the_last_word() -> None:
    plugin = Plugin()
    plugin.store("acme")(Disk)
    made = resolve("store", "acme/disk", plugins=registry_of(plugin), model="tape", name="x")
    assert made.said == {"model": "tape", "name": "x"}


def test_each_call_makes_another() -> None:
    plugin = Plugin()
    plugin.store("acme")(Disk)
    registry = registry_of(plugin)
    assert resolve("store", "acme", plugins=registry) is not resolve("store", "acme", plugins=registry)


def test_the_offline_stand_ins_are_resolved_by_their_ids() -> None:
    assert resolve("tts", "offline/flite:slt").model == "flite-slt"
    assert resolve("stt", "offline/pocketsphinx:en-US").model == "pocketsphinx-en-us"
    assert resolve("llm", "offline/llm", greeting="Hi").model == "offline-patterns"
    with pytest.raises(ConfigError, match="has no voice 'bob'"):
        resolve("tts", "offline/flite:bob")
    with pytest.raises(ConfigError, match="English only"):
        resolve("stt", "offline/pocketsphinx:de")


def test_the_models_inside_livekits_wheels_are_resolved_by_their_ids() -> None:
    assert resolve("vad", "livekit/vad", activation_threshold=0.7).provider == "livekit-local-inference"
    assert resolve("turn_detector", "livekit/turn-detector").model == "turn-detector-v1-mini"


def test_a_plugin_of_livekit_is_told_model_language_and_voice_in_its_own_words(packages: Path) -> None:
    install_livekit_plugin(packages, "acme-voice", LIVEKIT_PLUGIN)
    heard = resolve("stt", "acme-voice/big:de", api_key=SECRET)
    assert heard.said == {"model": "big", "language": "de", "api_key": SECRET}
    assert resolve("tts", "acme-voice:bob", speed=2).said == {"voice_id": "bob", "speed": 2}


def test_a_plugin_of_livekit_without_the_kind_or_the_choice_says_so(packages: Path) -> None:
    install_livekit_plugin(packages, "acme", LIVEKIT_PLUGIN.replace("voice_id=", "colour=").replace(", **options", ""))
    with pytest.raises(PluginError, match="livekit-plugins-acme has no llm"):
        resolve("llm", "acme/big")
    with pytest.raises(PluginError, match=r"has no voice to choose. Leave out 'bob'"):
        resolve("tts", "acme:bob")


def test_a_plugin_of_livekit_that_cannot_be_imported_says_why(packages: Path) -> None:
    install_livekit_plugin(packages, "acme", "import nothing_like_it")
    with pytest.raises(PluginError, match=r"livekit-plugins-acme cannot be imported: ModuleNotFoundError: .*nothing"):
        resolve("stt", "acme/big")


def test_a_plugin_of_livekit_is_not_imported_off_the_main_thread_and_says_what_to_do(packages: Path) -> None:
    install_livekit_plugin(packages, "acme", LIVEKIT_PLUGIN)
    with ThreadPoolExecutor() as threads:
        with pytest.raises(PluginError, match=r"main thread only. Call greenroom.plugins.prepare\(\)"):
            threads.submit(resolve, "stt", "acme/big").result()
        prepare("stt", "acme/big")
        assert threads.submit(resolve, "stt", "acme/big").result().said["model"] == "big"


@pytest.mark.parametrize(
    ("kind", "name", "hint"),
    [
        ("stt", "deepgram/nova-3", "Run: pip install livekit-plugins-deepgram"),
        ("stt", "deepgrm/nova-3", "Run: pip install livekit-plugins-deepgram and write deepgram"),
        ("tts", "offline/flit", "Did you mean offline/flite?"),
        ("llm", "ofline/llm", "Did you mean offline/llm?"),
        ("vad", "zzz", "See what there is: greenroom plugins"),
    ],
)
def test_an_unknown_id_gets_the_nearest_ones_and_what_to_install(kind: str, name: str, hint: str) -> None:
    with pytest.raises(UnknownIdError) as caught:
        resolve(kind, name)
    assert caught.value.message == f"No plugin here has the {kind} '{name}'"
    assert hint in caught.value.fix
    assert caught.value.context == {"kind": kind, "id": name}


def test_an_unknown_id_is_told_of_together_with_the_plugins_that_could_not_be_loaded(packages: Path) -> None:
    install(packages, "acme-stt", "import nothing_like_it")
    with pytest.raises(UnknownIdError, match=r"plugins that cannot be loaded: acme-stt"):
        resolve("stt", "acme/x", plugins=Registry.installed())


def test_an_unknown_kind_names_those_that_there_are() -> None:
    with pytest.raises(PluginError, match=r"'ttx' is no kind of plugin. Use one of: stt, llm, tts"):
        resolve("ttx", "offline/flite")


def test_an_id_for_hosted_inference_is_given_back_only_where_that_is_allowed() -> None:
    assert resolve("llm", "openai/gpt-4.1", inference=True) == "openai/gpt-4.1"
    prepare("llm", "openai/gpt-4.1", inference=True)
    for kind, options in (("llm", {"api_key": SECRET}), ("vad", {})):
        with pytest.raises(UnknownIdError):
            resolve(kind, "openai/gpt-4.1", inference=True, **options)
    assert resolve("llm", "offline/llm", inference=True).model == "offline-patterns"


def test_an_option_that_is_not_taken_names_those_that_are() -> None:
    plugin = Plugin()

    @plugin.store("acme/disk")
    def disk(path: str = "", *, mode: str = "rw") -> Disk:
        return Disk(path=path, mode=mode)

    with pytest.raises(PluginError, match=r"The store 'acme/disk' takes no paht. It takes: path, mode"):
        resolve("store", "acme/disk", plugins=registry_of(plugin), paht=SECRET)


@pytest.mark.parametrize("options", [{"key": SECRET}, {"auth": {"token": [SECRET]}}, {"key": SECRET.encode()}])
def test_no_error_holds_what_an_option_holds(options: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    plugin = Plugin()

    @plugin.store("acme/disk")
    def disk(**said: Any) -> Disk:
        raise ConnectionError(f"cannot log in with {said}")

    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(PluginError, match="made: ConnectionError") as caught,
    ):
        resolve("store", "acme/disk", plugins=registry_of(plugin), **options)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value.context) + caplog.text
    assert SECRET not in told
    assert "***" in told
    assert "test_resolve.py" in caught.value.message


def test_an_error_for_people_goes_on_unless_it_holds_a_secret() -> None:
    plugin = Plugin()

    @plugin.store("acme/disk")
    def disk(path: str) -> Disk:
        raise ConfigError("The disk is full" if path == "/full" else f"No disk {path}")

    with pytest.raises(ConfigError, match="The disk is full"):
        resolve("store", "acme/disk", plugins=registry_of(plugin), path="/full")
    with pytest.raises(PluginError) as caught:
        resolve("store", "acme/disk", plugins=registry_of(plugin), path=SECRET)
    assert SECRET not in str(caught.value)


def test_a_part_that_does_not_give_what_its_kind_has_to_is_refused() -> None:
    plugin = Plugin()
    for kind in (Kind.STORE, Kind.TTS, Kind.TURN_DETECTOR):
        getattr(plugin, kind)("acme")(dict)
        with pytest.raises(PluginError, match=f"The {kind} 'acme' gives a dict. It has to give "):
            resolve(kind, "acme", plugins=registry_of(plugin))


async def test_a_tool_is_the_function_itself() -> None:
    plugin = Plugin()

    @plugin.tool("letters")
    async def letters(word: str) -> str:
        """Count letters."""
        return str(len(word))

    tool = resolve("tool", "letters", plugins=registry_of(plugin))
    assert (tool.info.name, tool.info.description) == ("letters", "Count letters.")
    assert await tool("abc") == "3"
    with pytest.raises(PluginError, match="takes no options"):
        resolve("tool", "letters", plugins=registry_of(plugin), word="x")


def test_a_part_whose_module_is_not_installed_says_how_to_install_it() -> None:
    plugin = Plugin()
    plugin.store("acme", requires=["acme.heavy"], install="pip install acme")(Disk)
    with pytest.raises(PluginError, match=r"acme.heavy, which is not installed. Run: pip install acme"):
        resolve("store", "acme", plugins=registry_of(plugin))


def test_preparing_imports_what_an_id_needs_and_makes_nothing(packages: Path) -> None:
    (packages / "acme_heavy.py").write_text("")
    install_livekit_plugin(packages, "acme", LIVEKIT_PLUGIN.replace("super()", "raise AssertionError"))
    plugin = Plugin()

    @plugin.store("acme", requires=["acme_heavy"])
    def disk() -> Disk:
        raise AssertionError

    prepare("store", "acme", plugins=registry_of(plugin))
    prepare("stt", "acme/big", plugins=registry_of(plugin))
    assert {"acme_heavy", "livekit.plugins.acme"} <= set(sys.modules)
    with pytest.raises(UnknownIdError):
        prepare("llm", "nobody/x")
