"""Run benches and print a table: ``python -m bench [NAME ...] [--quick] [--json FILE]``."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

from bench import (
    connect,
    dev,
    dispatch,
    engine,
    eventlog,
    ffi,
    fleet,
    ingest,
    instruments,
    media,
    models,
    pool,
    pool_burst,
    pool_held,
    pool_idle,
    pool_knobs,
    pool_pairs,
    pool_truth,
    rooms,
    server,
    speech,
    streams,
    voice,
    workers,
)
from bench._figures import Figure, Options, as_json, circumstances, machine, table

BENCHES = {
    "server": server.run,
    "connect": connect.run,
    "streams": streams.run,
    "rooms": rooms.run,
    "engine": engine.run,
    "media": media.run,
    "models": models.run,
    "dispatch": dispatch.run,
    "workers": workers.run,
    "dev": dev.run,
    "eventlog": eventlog.run,
    "ingest": ingest.run,
    "fleet": fleet.run,
    "speech": speech.run,
    "voice": voice.run,
    "ffi": ffi.run,
    "instruments": instruments.run,
    "pool": pool.run,
    "pool-held": pool_held.run,
    "pool-idle": pool_idle.run,
    "pool-burst": pool_burst.run,
    "pool-knobs": pool_knobs.run,
    "pool-pairs": pool_pairs.run,
    "pool-truth": pool_truth.run,
}


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to run (default: all): {', '.join(BENCHES)}")
    parser.add_argument("--quick", action="store_true", help="a tenth of the repetitions")
    parser.add_argument("--rounds", type=int, help="repetitions, for every bench that repeats")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="also write the figures to FILE ('-': standard output)"
    )
    parser.add_argument("--strict", action="store_true", help="end with status 1 when an expectation is missed")
    parser.add_argument(
        "--openrtc-python", type=Path, metavar="PATH", help="a Python with openrtc==0.20.1 and typer<0.29, to compare"
    )
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in BENCHES]
    if unknown:
        parser.error(f"no bench is called {', '.join(unknown)}; there are {', '.join(BENCHES)}")
    return options


async def measure(names: list[str], options: Options) -> dict[str, list[Figure]]:
    results: dict[str, list[Figure]] = {}
    for name in names:
        print(f"bench: {name} ...", file=sys.stderr, flush=True)
        results[name] = await BENCHES[name](options)
    return results


def main() -> int:
    arguments = parse(sys.argv[1:])
    where = machine()
    options = Options(arguments.quick, arguments.rounds, arguments.openrtc_python)
    results = asyncio.run(measure(arguments.names or list(BENCHES), options))
    if arguments.json:
        text = json.dumps(as_json(results, where), indent=2) + "\n"
        if str(arguments.json) == "-":
            sys.stdout.write(text)
        else:
            arguments.json.write_text(text)
    if str(arguments.json) != "-":
        print(table(results))
        print(circumstances(where))
    missed = any(figure.kept is False for found in results.values() for figure in found)
    return 1 if missed and arguments.strict else 0


if __name__ == "__main__":
    sys.exit(main())
