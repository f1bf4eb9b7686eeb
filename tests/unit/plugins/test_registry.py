"""Which plugins there are: found through entry points, loaded one by one, listed with what is wrong."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from greenroom.plugins import Kind, Plugin, PluginError, Registry, describe, gives, listings
from support.plugin_package import install, install_livekit_plugin

pytestmark = pytest.mark.unit

GOOD = """
from greenroom.plugins import Plugin
plugin = Plugin()

@plugin.store("{name}/disk")
def disk(path: str, *, mode: str = "rw"):
    '''Keeps bytes on a disk.

    Slowly.
    '''
"""


def test_a_module_with_a_plugin_is_found_with_its_package_and_version(packages: Path) -> None:
    install(packages, "acme-store", GOOD.format(name="acme"), version="2.3")
    (found,) = [each for each in Registry.installed().listings() if each.id == "acme/disk"]
    assert (found.kind, found.package, found.version, found.state) == ("store", "acme-store", "2.3", "ready")
    assert found.summary == "Keeps bytes on a disk."


def test_an_entry_point_may_be_a_function_that_takes_a_plugin(packages: Path) -> None:
    source = "def fill(plugin):\n    plugin.sink('acme/queue')(dict)\n"
    install(packages, "acme-sink", source, entry="acme_sink:fill")
    assert "acme/queue" in Registry.installed().ids(Kind.SINK)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("import nothing_like_it", "ModuleNotFoundError: No module named 'nothing_like_it'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def wrong(:", "SyntaxError"),
        ("x = 1", "PluginError: The entry point names no plugin"),
        (GOOD.format(name="a b"), "PluginError: 'a b/disk' cannot be the id of a plugin"),
        (GOOD.format(name="a") + "plugin.store('a/disk')(dict)", "PluginError: The store 'a/disk' is registered twice"),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_listed_with_why_and_the_rest_works(
    packages: Path, source: str, problem: str
) -> None:
    install(packages, "broken-one", source)
    install(packages, "good-one", GOOD.format(name="good"))
    registry = Registry.installed()
    (found,) = registry.broken()
    assert found.id == found.package == "broken-one"
    assert found.problem.startswith(problem)
    assert "broken_one.py" in found.problem or "PluginError" in found.problem
    assert found.fix
    assert "good/disk" in registry.ids(Kind.STORE)
    assert "offline/llm" in registry.ids(Kind.LLM)


def test_a_plugin_that_fails_half_way_brings_nothing(packages: Path) -> None:
    install(packages, "half", GOOD.format(name="half") + "raise ValueError('no')")
    assert "half/disk" not in Registry.installed().ids(Kind.STORE)


def test_of_two_with_one_id_the_first_by_name_of_the_package_keeps_it(
    packages: Path, caplog: pytest.LogCaptureFixture
) -> None:
    install(packages, "zeta", GOOD.format(name="same"))
    install(packages, "alpha", GOOD.format(name="same"))
    with caplog.at_level(logging.WARNING, "greenroom.plugins"):
        registry = Registry.installed()
    states = {each.package: each.state for each in registry.listings() if each.id == "same/disk"}
    assert states == {"alpha": "ready", "zeta": "shadowed"}
    part = registry.find(Kind.STORE, "same/disk")
    assert part is not None
    assert part.make.__module__ == "alpha"
    (warning,) = caplog.records
    assert (warning.__dict__["kept"], warning.__dict__["shadowed"]) == ("alpha", "zeta")


def test_nobody_takes_the_ids_of_greenroom_itself(packages: Path) -> None:
    source = GOOD.format(name="x") + "plugin.llm('offline/llm')(dict)"
    install(packages, "aaa", source)
    part = Registry.installed().find(Kind.LLM, "offline/llm")
    assert part is not None
    assert part.make is not dict


def test_the_same_id_may_be_of_several_kinds(packages: Path) -> None:
    install(packages, "both", GOOD.format(name="both") + "plugin.memory('both/disk')(dict)")
    registry = Registry.installed()
    assert [each.state for each in registry.listings() if each.id == "both/disk"] == ["ready", "ready"]
    assert [each.listing.kind for each in describe("both/disk", plugins=registry)] == ["memory", "store"]


def test_what_needs_a_module_that_is_not_installed_is_listed_as_missing(packages: Path) -> None:
    source = "from greenroom.plugins import Plugin\nplugin = Plugin()\n"
    source += "plugin.vad('acme/vad', requires=['acme.heavy'], install='pip install acme[heavy]')(dict)"
    install(packages, "acme", source)
    (found,) = [each for each in Registry.installed().listings() if each.id == "acme/vad"]
    assert (found.state, found.problem) == ("missing", "The module acme.heavy is not installed")
    assert found.fix == "pip install acme[heavy]"


def test_plugins_of_livekit_are_listed_with_their_kinds_and_not_imported(packages: Path) -> None:
    source = "from .stt import STT\nfrom .tts import TTS, ChunkedStream\nraise AssertionError('imported')"
    install_livekit_plugin(packages, "acme-voice", source, version="1.9")
    found = [each for each in listings() if each.package == "livekit-plugins-acme-voice"]
    assert [(each.id, each.kind, each.version) for each in found] == [
        ("acme-voice", "stt", "1.9"),
        ("acme-voice", "tts", "1.9"),
    ]
    assert "livekit.plugins.acme_voice" not in sys.modules


def test_a_kind_can_be_asked_for_and_broken_plugins_are_told_of_all_the_same(packages: Path) -> None:
    install(packages, "broken-one", "import nothing_like_it")
    found = listings(Kind.TTS, plugins=Registry.installed())
    assert {each.kind for each in found} == {"tts", ""}


def test_a_description_tells_what_a_part_takes_and_gives(packages: Path) -> None:
    install(packages, "acme-store", GOOD.format(name="acme"))
    (found,) = describe("acme/disk", plugins=Registry.installed())
    assert found.takes == ("path: str", "mode: str = 'rw'")
    assert found.gives == "greenroom.plugins.Store"
    assert found.about.endswith("Slowly.")


def test_a_description_is_found_by_an_id_with_a_voice_or_a_model() -> None:
    (found,) = describe("offline/flite:slt")
    assert found.listing.id == "offline/flite"
    with pytest.raises(PluginError, match="Did you mean offline/flite"):
        describe("offline/flit")


def test_the_page_names_every_kind_and_every_protocol() -> None:
    page = (Path(__file__).parents[3] / "docs" / "plugins.md").read_text()
    table = page.partition("| kind | a part is |")[2].partition("\n\n")[0]
    for kind in Kind:
        assert f"`{kind}`" in table
        assert kind is Kind.TOOL or gives(kind).rpartition(".")[2] in table or kind is Kind.TURN_DETECTOR


def test_every_kind_says_what_its_parts_have_to_give() -> None:
    plugin = Plugin()
    for kind in Kind:
        assert gives(kind)
        assert getattr(plugin, kind)("x/y")(dict) is dict
    assert [each.kind for each in plugin.registrations] == list(Kind)
