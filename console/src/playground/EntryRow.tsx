import { memo } from "react";
import type { Entry, Phase, ToolCall, ToolOutcome, Utterance } from "../call/transcript.ts";
import { Hidden } from "../ui/Hidden.tsx";
import { dayTime, span } from "../ui/time.ts";
import styles from "./EntryRow.module.css";

/** One line of the transcript: when, who, what, and how long it took. */
export const EntryRow = memo(function EntryRow({ entry, continues }: { entry: Entry; continues: boolean }) {
  switch (entry.kind) {
    case "utterance":
      return <UtteranceRow entry={entry} continues={continues} />;
    case "tool":
      return <ToolRow call={entry} />;
    case "fault":
      return (
        <li className={styles["row"]}>
          <Time at={entry.at} />
          <span className={`${styles["who"]} ${styles["bad"]}`}>error</span>
          <p className={`${styles["text"]} ${styles["bad"]}`}>{entry.text}</p>
        </li>
      );
  }
});

export function speakerName({ speaker }: Utterance): string {
  if (speaker.role === "visitor") return speaker.name || "You";
  return speaker.name;
}

export function ThinkingRow({ name }: { name: string }) {
  return (
    <li className={`${styles["row"]} ${styles["thinking"]}`} aria-hidden="true">
      <span className={`${styles["who"]} ${styles["agent"]}`}>{name}</span>
      <p className={styles["text"]}>
        <span className={styles["dots"]}>
          <i />
          <i />
          <i />
        </span>
      </p>
    </li>
  );
}

function Time({ at }: { at: number }) {
  return (
    <time className={styles["time"]} dateTime={new Date(at).toISOString()}>
      {dayTime(at)}
    </time>
  );
}

const phaseNote: Partial<Record<Phase, string>> = {
  waiting: "waits for the agent",
  sending: "sending",
  failed: "not sent",
  cut: "cut off",
  interrupted: "interrupted",
};

function UtteranceRow({ entry, continues }: { entry: Utterance; continues: boolean }) {
  const { role } = entry.speaker;
  const name = speakerName(entry);
  const note = phaseNote[entry.phase];
  return (
    <li
      className={`${styles["row"]} ${continues ? styles["continues"] : ""}`}
      data-role={role}
      data-phase={entry.phase}
    >
      <Time at={entry.at} />
      <span className={`${styles["who"]} ${styles[role]}`}>{continues ? <Hidden>{name}</Hidden> : name}</span>
      <p className={`${styles["text"]} ${styles[entry.phase]}`}>
        {entry.text}
        {note === undefined ? null : <span className={styles["note"]}> {note}</span>}
      </p>
      {entry.latency === undefined ? null : (
        <span className={styles["took"]} title="From the words before to the first word of the answer">
          {span(entry.latency)}
        </span>
      )}
    </li>
  );
}

const outcomeWord: Record<ToolOutcome, string> = {
  running: "running",
  done: "done",
  error: "failed",
  cancelled: "cancelled",
  unknown: "unfinished",
};

function ToolRow({ call }: { call: ToolCall }) {
  const { name, args, outcome, output, progress, at, endedAt } = call;
  const result = output ?? progress ?? "";
  return (
    <li className={styles["row"]} data-tool={name} data-outcome={outcome}>
      <Time at={at} />
      <span className={`${styles["who"]} ${styles["tool"]}`}>tool</span>
      <details className={styles["call"]}>
        <summary>
          <code>{name}</code>
          <code className={styles["args"]}>{brief(args)}</code>
          <span className={`${styles["outcome"]} ${outcome === "error" ? styles["bad"] : ""}`}>
            {outcomeWord[outcome]}
          </span>
          {result === "" ? null : <code className={styles["result"]}>{oneLine(result)}</code>}
        </summary>
        <dl className={styles["full"]}>
          <dt>Arguments</dt>
          <dd>
            <pre>{pretty(args)}</pre>
          </dd>
          <dt>Result</dt>
          <dd>
            <pre>{result === "" ? "none" : pretty(result)}</pre>
          </dd>
        </dl>
      </details>
      {endedAt === undefined ? null : <span className={styles["took"]}>{span(endedAt - at)}</span>}
    </li>
  );
}

/** Arguments as a person would write them: `day: "Monday", seats: 2`. */
function brief(args: string): string {
  const value = parsed(args);
  if (typeof value !== "object" || value === null || Array.isArray(value)) return oneLine(args);
  return Object.entries(value)
    .map(([key, argument]) => `${key}: ${JSON.stringify(argument)}`)
    .join(", ");
}

function pretty(text: string): string {
  const value = parsed(text);
  return typeof value === "object" && value !== null ? JSON.stringify(value, null, 2) : text;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").trim();
}
