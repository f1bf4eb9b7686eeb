"""The agent as a class in OpenRTC's pool. What OpenRTC would download is stood in for; the agent does not use it.

``VAD.load()`` of the Silero plugin gives LiveKit's own VAD, the one that all executors have here, and the
multilingual turn detector is a name: sessions take turns by VAD.
"""

from __future__ import annotations

import os
import sys
import types

from _script import GREETING, TURNS, Scripted
from livekit.agents import inference
from openrtc import AgentPool


def stand_in() -> None:
    """Put modules in the place of the plugins whose models are not here."""
    plugins = types.ModuleType("livekit.plugins")
    silero = types.ModuleType("livekit.plugins.silero")
    silero.VAD = types.SimpleNamespace(load=lambda: inference.VAD(model="silero"))
    detector = types.ModuleType("livekit.plugins.turn_detector")
    multilingual = types.ModuleType("livekit.plugins.turn_detector.multilingual")
    multilingual.MultilingualModel = type("MultilingualModel", (), {})
    plugins.__path__ = detector.__path__ = []
    plugins.silero, plugins.turn_detector, detector.multilingual = silero, detector, multilingual
    for module in (plugins, silero, detector, multilingual):
        sys.modules[module.__name__] = module


def main() -> None:
    stand_in()
    pool = AgentPool(agent_name=os.environ.get("BENCH_AGENT", "bench"), max_concurrent_sessions=500, port=0)
    pool.add("bench", Scripted, greeting=GREETING, session_kwargs={"turn_handling": TURNS})
    pool.run()


if __name__ == "__main__":
    main()
