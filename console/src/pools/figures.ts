import type { Pool } from "../api/api.ts";

const unknown = "–";

/** A share of one as percent. */
export function share(value: number | null): string {
  return value === null ? unknown : `${(value * 100).toFixed(0)} %`;
}

/** Seconds that an event loop was late, in milliseconds. */
export function lateness(seconds: number | null): string {
  return seconds === null ? unknown : `${(seconds * 1000).toFixed(0)} ms`;
}

/** Bytes in MB or GB. */
export function bytes(size: number | null): string {
  if (size === null) return unknown;
  return size < 1e9 ? `${(size / 1e6).toFixed(0)} MB` : `${(size / 1e9).toFixed(1)} GB`;
}

/** How a pool is, in words. A pool says that it is "lost" when it has lost its LiveKit server. */
export function stateOf(pool: Pool): string {
  if (pool.lost) return "not heard of any more";
  return pool.report.state === "lost" ? "without its LiveKit server" : pool.report.state;
}
