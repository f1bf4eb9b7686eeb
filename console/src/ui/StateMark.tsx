import type { ListedState } from "../api/api.ts";
import type { AgentState } from "../call/call.ts";
import styles from "./StateMark.module.css";

/** A mark for an agent's state. The shape tells it as well as the colour; the word stands beside it. */
export function StateMark({ state }: { state: AgentState | ListedState | "unknown" | "absent" }) {
  return (
    <span className={`${styles["mark"]} ${styles[state]}`} aria-hidden="true">
      {state === "speaking" ? (
        <>
          <i />
          <i />
          <i />
        </>
      ) : null}
    </span>
  );
}
