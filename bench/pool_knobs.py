"""What single measures of the pool are worth: the same calls in one shard, with each of them on and off."""

from __future__ import annotations

from bench._figures import Figure, Options
from bench._pool_load import Outcomes, loaded
from bench._pool_stage import Stage, ours, stage

CALLS = 12
SECONDS = 8.0
ROUNDS = 2
#: What is said in the configuration file, under ``[pool]``.
KNOBS = {
    "all on": "",
    "events not routed": "ffi_routing = false",
    "the collector as Python has it": "gc_policy = false",
    "a thread for each VAD": "inline_vad = false",
}


async def run(options: Options) -> list[Figure]:
    """Let each setting in turn serve the same calls."""
    calls, seconds, rounds = (4, 4.2, 1) if options.quick else (CALLS, SECONDS, options.rounds or ROUNDS)
    async with stage() as place:
        found = {name: Outcomes(ours(1, name, *_config(place, name))) for name in KNOBS}
        for number in range(rounds):
            for name in [*found][number:] + [*found][:number]:
                found[name].rounds.append(await loaded(place, found[name].executor, calls, seconds))
    return [figure for name, outcomes in found.items() for figure in _figures(name, outcomes)]


def _config(place: Stage, name: str) -> tuple[str, ...]:
    file = place.folder / f"{name.replace(' ', '-')}.toml"
    file.write_text(f"[pool]\n{KNOBS[name]}\n")
    return ("--config", str(file))


def _figures(name: str, outcomes: Outcomes) -> list[Figure]:
    title = f"pool-knobs, {name}"
    pauses = outcomes.all("pauses")
    return [
        Figure(f"{title}, CPU per call", outcomes.middle("cpu_per_call"), "%", note=outcomes.range("cpu_per_call")),
        Figure(f"{title}, loop lag p99", outcomes.quantile("lags", 0.99), "ms"),
        Figure(f"{title}, loop lag worst", outcomes.quantile("lags", 1), "ms"),
        Figure(f"{title}, frame lateness p99", outcomes.quantile("late", 0.99), "ms"),
        Figure(f"{title}, longest pause of the collector", max(pauses, default=0.0) * 1000, "ms"),
    ]
