import { useEffect, useLayoutEffect, useRef, useState } from "react";
import { agentOf, type Call } from "../call/call.ts";
import type { Entry } from "../call/transcript.ts";
import { Button } from "../ui/Button.tsx";
import { Hidden } from "../ui/Hidden.tsx";
import { EntryRow, speakerName, ThinkingRow } from "./EntryRow.tsx";
import styles from "./TranscriptView.module.css";

/** How far from the end still counts as reading along. */
const slack = 48;

export function TranscriptView({ call }: { call: Call }) {
  const { entries, unansweredSince } = call.transcript;
  const scroller = useRef<HTMLDivElement>(null);
  const following = useRef(true);
  const [behind, setBehind] = useState(false);
  const agent = agentOf(call);
  const thinking = agent?.state === "thinking" && unansweredSince !== null;

  const toEnd = () => {
    const element = scroller.current;
    if (element !== null) element.scrollTop = element.scrollHeight;
  };
  useLayoutEffect(() => {
    if (following.current) toEnd();
    else setBehind(true);
  }, [entries, thinking]);
  useEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    const observer = new ResizeObserver(() => {
      if (following.current) toEnd();
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
    };
  }, []);

  return (
    <div className={styles["frame"]}>
      <div
        ref={scroller}
        className={styles["scroller"]}
        role="log"
        aria-live="off"
        aria-label="Transcript"
        tabIndex={0}
        onScroll={({ currentTarget: element }) => {
          following.current = element.scrollHeight - element.scrollTop - element.clientHeight < slack;
          if (following.current) setBehind(false);
        }}
      >
        <ol className={styles["entries"]}>
          {entries.map((entry, index) => (
            <EntryRow key={entry.id} entry={entry} continues={continues(entries[index - 1], entry)} />
          ))}
          {thinking ? <ThinkingRow name={agent.name} /> : null}
        </ol>
      </div>
      {behind ? (
        <span className={styles["jump"]}>
          <Button onPress={toEnd}>Jump to the latest</Button>
        </span>
      ) : null}
      <Hidden role="status">{announcement(entries)}</Hidden>
    </div>
  );
}

/** Whether the same voice goes on, so that its name need not stand again. */
function continues(before: Entry | undefined, entry: Entry): boolean {
  return (
    before?.kind === "utterance" && entry.kind === "utterance" && before.speaker.identity === entry.speaker.identity
  );
}

/** What a screen reader says: whole utterances of others, not each word as it comes. */
function announcement(entries: readonly Entry[]): string {
  const last = entries.findLast((entry) =>
    entry.kind === "utterance" ? entry.speaker.role !== "visitor" && entry.phase !== "growing" : entry.kind === "fault",
  );
  if (last === undefined || last.kind === "tool") return "";
  return last.kind === "fault" ? `The agent reports an error: ${last.text}` : `${speakerName(last)}: ${last.text}`;
}
