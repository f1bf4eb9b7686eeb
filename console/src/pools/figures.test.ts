import { expect, test } from "vitest";
import type { Pool } from "../api/api.ts";
import { bytes, lateness, share, stateOf } from "./figures.ts";

function pool(state: string, lost = false): Pool {
  const report = { machine: "m", pid: 1, state, load: 0, max_sessions: 1, deployment: "", shards: [], sessions: [] };
  return { instance: "p", lost, asked: [], report };
}

test("what nobody knows is a dash, not a zero", () => {
  expect([share(null), lateness(null), bytes(null)]).toEqual(["–", "–", "–"]);
});

test("figures are short", () => {
  expect([share(0.256), lateness(0.0042), bytes(83_000_000), bytes(2_150_000_000)]).toEqual([
    "26 %",
    "4 ms",
    "83 MB",
    "2.1 GB",
  ]);
});

test("a pool that lost its server is not one that is not heard of", () => {
  expect([stateOf(pool("lost")), stateOf(pool("serving", true)), stateOf(pool("draining"))]).toEqual([
    "without its LiveKit server",
    "not heard of any more",
    "draining",
  ]);
});
