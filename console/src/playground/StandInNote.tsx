import { type Call, standInsOf } from "../call/call.ts";
import { standInLine } from "../call/standIns.ts";
import styles from "./StandInNote.module.css";

/** Says which parts of the agent are stand-ins; holds no room when none is. */
export function StandInNote({ call }: { call: Call }) {
  const line = standInLine(standInsOf(call));
  // The element stays: only what changes in one that was there is read out.
  return (
    <div role="status" aria-atomic="true" className={styles["note"]} data-testid="stand-ins">
      {line === null ? null : (
        <p>
          {line.text} See <span className={styles["page"]}>{line.page}</span>.
        </p>
      )}
    </div>
  );
}
