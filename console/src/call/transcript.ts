/**
 * The transcript of a call, assembled from what arrives: what the visitor typed, text streams, tool calls.
 *
 * A segment of speech arrives as text streams that share `lk.segment_id`. An agent's own speech is one stream
 * whose chunks continue each other. What it heard of somebody else is a stream per partial result, each
 * replacing the one before. Both read the same here: the newest stream of a segment is its text.
 */

export type Role = "visitor" | "agent" | "other";

export interface Speaker {
  readonly identity: string;
  readonly name: string;
  readonly role: Role;
}

/**
 * - `waiting`: typed, not sent yet, because nobody can hear it
 * - `sending`, `failed`: handed to LiveKit, refused by it
 * - `growing`: more text may follow
 * - `done`
 * - `cut`: more text was due and never came
 * - `interrupted`: somebody spoke over it; the text is what was said until then
 */
export type Phase = "waiting" | "sending" | "failed" | "growing" | "done" | "cut" | "interrupted";

export interface Utterance {
  readonly kind: "utterance";
  readonly id: string;
  readonly speaker: Speaker;
  readonly text: string;
  readonly phase: Phase;
  /** Milliseconds since the epoch, as all times here. */
  readonly at: number;
  /** For the first words of an agent after the visitor's: milliseconds since those were sent, or understood. */
  readonly latency?: number;
  /** The stream that may still add to the text. */
  readonly stream?: string;
  /** Whether the next text of `stream` starts over. */
  readonly superseded?: boolean;
}

export type ToolOutcome = "running" | "done" | "error" | "cancelled" | "unknown";

export interface ToolCall {
  readonly kind: "tool";
  readonly id: string;
  readonly name: string;
  /** JSON as the model wrote it. */
  readonly args: string;
  readonly outcome: ToolOutcome;
  readonly progress?: string;
  readonly output?: string;
  readonly at: number;
  readonly endedAt?: number;
}

/** Something the agent reported going wrong. */
export interface Fault {
  readonly kind: "fault";
  readonly id: string;
  readonly text: string;
  readonly at: number;
}

export type Entry = Utterance | ToolCall | Fault;

export interface Transcript {
  readonly entries: readonly Entry[];
  /** When the last words of the visitor were sent, or understood, that no agent has answered yet. */
  readonly unansweredSince: number | null;
}

export interface ToolReport {
  readonly id: string;
  readonly name?: string;
  readonly args?: string;
  readonly outcome?: ToolOutcome;
  readonly progress?: string;
  readonly output?: string;
}

export type TranscriptEvent =
  | { readonly type: "typed"; readonly id: string; readonly speaker: Speaker; readonly text: string }
  | { readonly type: "sending"; readonly id: string }
  | { readonly type: "delivered"; readonly id: string }
  | { readonly type: "undelivered"; readonly id: string }
  | {
      readonly type: "stream-opened";
      readonly stream: string;
      readonly segment: string;
      readonly speaker: Speaker;
    }
  | { readonly type: "stream-text"; readonly stream: string; readonly text: string }
  | { readonly type: "stream-closed"; readonly stream: string; readonly final: boolean }
  | { readonly type: "stream-broken"; readonly stream: string }
  | { readonly type: "interrupted"; readonly identity: string; readonly text: string }
  | { readonly type: "tool"; readonly report: ToolReport }
  | { readonly type: "fault"; readonly id: string; readonly text: string }
  | { readonly type: "ended" };

export const emptyTranscript: Transcript = { entries: [], unansweredSince: null };

/** Returns the transcript after `event`, which happened `at`. */
export function transcribe(transcript: Transcript, event: TranscriptEvent, at: number): Transcript {
  switch (event.type) {
    case "typed": {
      const { id, speaker, text } = event;
      return append(transcript, { kind: "utterance", id, speaker, text, phase: "waiting", at });
    }
    case "sending":
      return { ...setPhase(transcript, event.id, "sending"), unansweredSince: at };
    case "delivered":
      return setPhase(transcript, event.id, "done");
    case "undelivered":
      return { ...setPhase(transcript, event.id, "failed"), unansweredSince: null };
    case "stream-opened":
      return openStream(transcript, event, at);
    case "stream-text":
      return addText(transcript, event.stream, event.text, at);
    case "stream-closed":
      return closeStream(transcript, event.stream, event.final ? "done" : "growing", at);
    case "stream-broken":
      return closeStream(transcript, event.stream, "cut", at);
    case "interrupted":
      return interrupt(transcript, event.identity, event.text);
    case "tool":
      return recordTool(transcript, event.report, at);
    case "fault":
      return append(transcript, { kind: "fault", id: event.id, text: event.text, at });
    case "ended":
      return { entries: transcript.entries.map((entry) => settle(entry, at)), unansweredSince: null };
  }
}

function append(transcript: Transcript, entry: Entry): Transcript {
  return { ...transcript, entries: [...transcript.entries, entry] };
}

function update(transcript: Transcript, match: (entry: Entry) => boolean, change: (entry: Entry) => Entry): Transcript {
  const index = transcript.entries.findLastIndex(match);
  const entry = transcript.entries[index];
  if (entry === undefined) return transcript;
  return { ...transcript, entries: transcript.entries.with(index, change(entry)) };
}

function updateUtterance(
  transcript: Transcript,
  match: (entry: Utterance) => boolean,
  change: (entry: Utterance) => Utterance,
): Transcript {
  return update(
    transcript,
    (entry) => entry.kind === "utterance" && match(entry),
    (entry) => (entry.kind === "utterance" ? change(entry) : entry),
  );
}

function setPhase(transcript: Transcript, id: string, phase: Phase): Transcript {
  return updateUtterance(
    transcript,
    (entry) => entry.id === id,
    (entry) => ({ ...entry, phase }),
  );
}

function openStream(
  transcript: Transcript,
  event: Extract<TranscriptEvent, { type: "stream-opened" }>,
  at: number,
): Transcript {
  const id = `segment:${event.segment}`;
  const known = transcript.entries.some((entry) => entry.id === id);
  if (!known) {
    const { stream, speaker } = event;
    return append(transcript, { kind: "utterance", id, speaker, text: "", phase: "growing", at, stream });
  }
  // The old text stays until the new one arrives, so that a partial result does not flicker.
  return updateUtterance(
    transcript,
    (entry) => entry.id === id,
    (entry) => ({ ...entry, phase: "growing", stream: event.stream, superseded: true }),
  );
}

function addText(transcript: Transcript, stream: string, text: string, at: number): Transcript {
  if (text === "") return transcript;
  const first = transcript.entries.some((entry) => isSilent(entry, stream) && entry.speaker.role === "agent");
  const latency = first && transcript.unansweredSince !== null ? at - transcript.unansweredSince : null;
  const next = updateUtterance(
    transcript,
    (entry) => entry.stream === stream,
    ({ superseded, ...entry }) => ({
      ...entry,
      text: superseded ? text : entry.text + text,
      at: entry.text === "" ? at : entry.at,
      ...(latency === null ? {} : { latency }),
    }),
  );
  return latency === null ? next : { ...next, unansweredSince: null };
}

function isSilent(entry: Entry, stream: string): entry is Utterance {
  return entry.kind === "utterance" && entry.stream === stream && entry.text === "";
}

function closeStream(transcript: Transcript, stream: string, phase: Phase, at: number): Transcript {
  if (phase !== "growing" && transcript.entries.some((entry) => isSilent(entry, stream))) {
    return { ...transcript, entries: transcript.entries.filter((entry) => !isSilent(entry, stream)) };
  }
  const understood = transcript.entries.some(
    (entry) =>
      entry.kind === "utterance" && entry.stream === stream && entry.speaker.role === "visitor" && phase === "done",
  );
  const next = updateUtterance(
    transcript,
    (entry) => entry.stream === stream,
    // That somebody was interrupted may be known before the last words have come.
    (entry) => ({ ...entry, phase: entry.phase === "interrupted" ? entry.phase : phase }),
  );
  return understood ? { ...next, unansweredSince: at } : next;
}

/** The speaker's last words were cut short; `text` is what was said of them, or empty when that is not known. */
function interrupt(transcript: Transcript, identity: string, text: string): Transcript {
  return updateUtterance(
    transcript,
    (entry) => entry.speaker.identity === identity,
    ({ stream, ...entry }) => {
      const same = areTheSameWords(text, entry.text);
      // What its stream still brings was not said.
      return same
        ? { ...entry, phase: "interrupted", text: text.trim() }
        : { ...entry, phase: "interrupted", ...(stream === undefined ? {} : { stream }) };
    },
  );
}

/** Whether one is how the other begins. */
function areTheSameWords(...texts: [string, string]): boolean {
  const [one, other] = texts.map((each) => each.replace(/\s+/g, " ").trim()) as [string, string];
  return one !== "" && other !== "" && (one.startsWith(other) || other.startsWith(one));
}

function recordTool(transcript: Transcript, report: ToolReport, at: number): Transcript {
  const known = transcript.entries.some((entry) => entry.kind === "tool" && entry.id === report.id);
  const base = known
    ? transcript
    : append(transcript, { kind: "tool", id: report.id, name: "", args: "", outcome: "running", at });
  return update(
    base,
    (entry) => entry.kind === "tool" && entry.id === report.id,
    (entry) => {
      if (entry.kind !== "tool") return entry;
      // A late report of the start must not reopen a call that has ended.
      const outcome = entry.outcome === "running" ? (report.outcome ?? "running") : entry.outcome;
      const ends = entry.outcome === "running" && outcome !== "running";
      return { ...entry, ...report, outcome, ...(ends ? { endedAt: at } : {}) };
    },
  );
}

function settle(entry: Entry, at: number): Entry {
  if (entry.kind === "tool") return entry.outcome === "running" ? { ...entry, outcome: "unknown", endedAt: at } : entry;
  if (entry.kind === "fault") return entry;
  if (entry.phase === "growing") return { ...entry, phase: "cut" };
  return entry.phase === "waiting" || entry.phase === "sending" ? { ...entry, phase: "failed" } : entry;
}
