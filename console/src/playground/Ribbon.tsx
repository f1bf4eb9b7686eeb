import type { AgentState, StateChange } from "../call/call.ts";
import styles from "./Ribbon.module.css";

const minute = 60_000;

/** The agent's state over the last minute: one bar for each stretch, now at the right end. */
export function Ribbon({ history, now }: { history: readonly StateChange[]; now: number }) {
  const start = now - minute;
  const bars = history.flatMap((change, index) => {
    const from = Math.max(change.at, start);
    const to = Math.max(history[index + 1]?.at ?? now, from);
    if (to <= start) return [];
    return [{ at: change.at, state: change.state ?? "unknown", x: from - start, width: to - from }];
  });
  return (
    <svg className={styles["ribbon"]} viewBox={`0 0 ${minute} 10`} preserveAspectRatio="none" aria-hidden="true">
      {bars.map(({ at, state, x, width }, index) => (
        // Stretches of a few milliseconds are the interesting ones; none is drawn too thin to see.
        <rect
          key={`${at}-${index}`}
          className={styles[state]}
          x={x}
          y={0}
          width={Math.max(width, minute / 160)}
          height={10}
        />
      ))}
    </svg>
  );
}

/** The colour that a state has in the ribbon. */
export function Swatch({ state }: { state: AgentState }) {
  return (
    <svg viewBox="0 0 8 8" width="8" height="8" aria-hidden="true">
      <rect className={styles[state]} width="8" height="8" rx="1.5" />
    </svg>
  );
}
