"""Weighs models in one process and in one that was forked from it: ``python -m bench._models_weighed MODEL...``."""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys

import numpy as np

from bench._pool_tree import rollup

USES = 20


def weight() -> tuple[float, float]:
    """Return PSS and USS of this process, in MB."""
    values = rollup(os.getpid())
    return values["Pss"], values["Private_Clean"] + values["Private_Dirty"]


def forked(native: object, models: list[str]) -> float:
    """Return what a process that was forked from this one does not share once it has used models, in MB."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        for name in models:
            model = native.VAD() if name == "vad" else native.EOT()
            silence = np.zeros(512 if name == "vad" else 19200, np.int16)
            for _ in range(USES):
                model.predict(silence)
        os.write(writing, str(weight()[1]).encode())
        os._exit(0)
    found = float(os.read(reading, 100))
    os.waitpid(child, 0)
    return found


def main(models: list[str]) -> None:
    """Print what loading models adds, and what using them adds in a shard."""
    importlib.import_module("livekit.agents")
    native = importlib.import_module("livekit.local_inference")
    gc.collect()
    without = weight()
    for name in models:
        getattr(native, f"init_{name}")()
    loaded = weight()
    gc.freeze()
    idle = forked(native, [])
    shards = {name: forked(native, [name]) - idle for name in ("vad", "eot")}
    print(json.dumps({"pss": loaded[0] - without[0], "uss": loaded[1] - without[1], "shards": shards}))


if __name__ == "__main__":
    main(sys.argv[1:])
