import { describe, expect, it } from "vitest";
import { emptyTranscript, type Speaker, transcribe, type Transcript, type TranscriptEvent } from "./transcript.ts";

const agent: Speaker = { identity: "agent-1", name: "front-desk", role: "agent" };
const visitor: Speaker = { identity: "visitor-1", name: "Ada", role: "visitor" };

/** Applies events one millisecond apart, starting at 1000. */
function after(...events: TranscriptEvent[]): Transcript {
  return events.reduce((transcript, event, index) => transcribe(transcript, event, 1000 + index), emptyTranscript);
}

function opened(stream: string, segment: string, speaker = agent): TranscriptEvent {
  return { type: "stream-opened", stream, segment, speaker };
}

function text(stream: string, words: string): TranscriptEvent {
  return { type: "stream-text", stream, text: words };
}

function closed(stream: string, final = true): TranscriptEvent {
  return { type: "stream-closed", stream, final };
}

describe("an agent's speech", () => {
  it("grows by each chunk and is done when its stream ends as final", () => {
    const growing = after(opened("s1", "SG_1"), text("s1", "Good "), text("s1", "morning"));
    expect(growing.entries).toMatchObject([{ text: "Good morning", phase: "growing", speaker: agent }]);
    expect(transcribe(growing, closed("s1"), 2000).entries).toMatchObject([{ phase: "done" }]);
  });

  it("keeps two segments apart even when their chunks alternate", () => {
    const { entries } = after(
      opened("s1", "SG_1"),
      opened("s2", "SG_2"),
      text("s1", "a"),
      text("s2", "x"),
      text("s1", "b"),
    );
    expect(entries).toMatchObject([{ text: "ab" }, { text: "x" }]);
  });

  it("is cut when its stream breaks off", () => {
    const { entries } = after(opened("s1", "SG_1"), text("s1", "Good mor"), { type: "stream-broken", stream: "s1" });
    expect(entries).toMatchObject([{ text: "Good mor", phase: "cut" }]);
  });

  it("leaves nothing when a segment ends without a word", () => {
    expect(after(opened("s1", "SG_1"), closed("s1")).entries).toEqual([]);
  });

  it("is dated by its first word", () => {
    const { entries } = after(opened("s1", "SG_1"), text("s1", ""), text("s1", "Hi"), text("s1", "!"));
    expect(entries).toMatchObject([{ at: 1002 }]);
  });
});

describe("an agent that is interrupted", () => {
  const cut = (words: string): TranscriptEvent => ({ type: "interrupted", identity: agent.identity, text: words });

  it("has said only what it came to, whatever its stream brought", () => {
    const { entries } = after(opened("s1", "SG_1"), text("s1", "We open at nine."), closed("s1"), cut("We open "));
    expect(entries).toMatchObject([{ text: "We open", phase: "interrupted" }]);
  });

  it("keeps to that when more arrives late", () => {
    const { entries } = after(
      opened("s1", "SG_1"),
      text("s1", "We"),
      cut("We open"),
      text("s1", " open at nine."),
      closed("s1"),
    );
    expect(entries).toMatchObject([{ text: "We open", phase: "interrupted" }]);
  });

  it("is marked even when its words cannot be told from the transcript", () => {
    const { entries } = after(
      opened("s1", "SG_1"),
      text("s1", "At 9."),
      cut("At nine"),
      text("s1", "30"),
      closed("s1"),
    );
    expect(entries).toMatchObject([{ text: "At 9.30", phase: "interrupted" }]);
  });

  it("is its last utterance, even when the visitor's stands after it", () => {
    const { entries } = after(
      opened("s1", "SG_1"),
      text("s1", "Hello"),
      closed("s1"),
      opened("s2", "SG_2"),
      text("s2", "We open at nine."),
      opened("s3", "SG_3", visitor),
      text("s3", "Stop"),
      cut("We open"),
    );
    expect(entries).toMatchObject([{ phase: "done" }, { phase: "interrupted", text: "We open" }, { phase: "growing" }]);
  });
});

describe("what the agent heard", () => {
  it("replaces each partial result by the next, without a gap between them", () => {
    const first = after(
      opened("s1", "SG_1", visitor),
      text("s1", "I wood"),
      closed("s1", false),
      opened("s2", "SG_1", visitor),
    );
    expect(first.entries).toMatchObject([{ text: "I wood", phase: "growing" }]);
    const second = transcribe(first, text("s2", "I would"), 2000);
    expect(second.entries).toMatchObject([{ text: "I would", phase: "growing" }]);
    expect(transcribe(second, closed("s2"), 2001).entries).toMatchObject([{ text: "I would", phase: "done" }]);
  });

  it("is answered by the agent's next words, from when it was final", () => {
    const { entries } = after(
      opened("s1", "SG_1", visitor),
      text("s1", "Hello"),
      closed("s1", false),
      opened("s2", "SG_1", visitor),
      text("s2", "Hello there"),
      closed("s2"), // at 1005
      opened("s3", "SG_2"),
      text("s3", "Good morning"), // at 1007
    );
    expect(entries).toMatchObject([{ text: "Hello there", phase: "done" }, { latency: 2 }]);
  });

  it("ignores late chunks of a result that was replaced", () => {
    const { entries } = after(
      opened("s1", "SG_1", visitor),
      text("s1", "old"),
      opened("s2", "SG_1", visitor),
      text("s2", "new"),
      text("s1", " late"),
      closed("s1"),
    );
    expect(entries).toMatchObject([{ text: "new", phase: "growing" }]);
  });
});

describe("a typed message", () => {
  const typed: TranscriptEvent = { type: "typed", id: "m1", speaker: visitor, text: "Hello" };

  it("waits, is sent and is done", () => {
    expect(after(typed).entries).toMatchObject([{ text: "Hello", phase: "waiting" }]);
    expect(after(typed, { type: "sending", id: "m1" }).entries).toMatchObject([{ phase: "sending" }]);
    expect(after(typed, { type: "sending", id: "m1" }, { type: "delivered", id: "m1" }).entries).toMatchObject([
      { phase: "done" },
    ]);
  });

  it("says so when it could not be sent", () => {
    const { entries } = after(typed, { type: "sending", id: "m1" }, { type: "undelivered", id: "m1" });
    expect(entries).toMatchObject([{ phase: "failed" }]);
  });

  it("measures how long the first word of the answer took, once", () => {
    const { entries } = after(
      typed,
      { type: "sending", id: "m1" }, // at 1001
      { type: "delivered", id: "m1" },
      opened("s1", "SG_1"),
      text("s1", "Hi"), // at 1004
      text("s1", "!"),
      closed("s1"),
      opened("s2", "SG_2"),
      text("s2", "More"),
    );
    expect(entries.slice(1)).toMatchObject([{ latency: 3 }, { text: "More" }]);
    expect(entries[2]).not.toHaveProperty("latency");
  });

  it("is not answered by what somebody else says", () => {
    const other: Speaker = { identity: "bob", name: "Bob", role: "other" };
    const transcript = after(typed, { type: "sending", id: "m1" }, opened("s1", "x", other), text("s1", "Hi"));
    expect(transcript.unansweredSince).toBe(1001);
  });
});

describe("a tool call", () => {
  const started: TranscriptEvent = {
    type: "tool",
    report: { id: "c1", name: "lookup", args: '{"day":"Monday"}', outcome: "running" },
  };

  it("runs, reports progress and ends", () => {
    const { entries } = after(
      started,
      { type: "tool", report: { id: "c1", progress: "half way" } },
      { type: "tool", report: { id: "c1", outcome: "done", output: "free" } },
    );
    expect(entries).toEqual([
      {
        kind: "tool",
        id: "c1",
        name: "lookup",
        args: '{"day":"Monday"}',
        outcome: "done",
        progress: "half way",
        output: "free",
        at: 1000,
        endedAt: 1002,
      },
    ]);
  });

  it("is one entry however often it is reported, and stays ended", () => {
    const executed: TranscriptEvent = {
      type: "tool",
      report: { id: "c1", name: "lookup", args: "{}", outcome: "error", output: "boom" },
    };
    const { entries } = after(executed, started, executed);
    expect(entries).toMatchObject([{ outcome: "error", output: "boom", endedAt: 1000 }]);
    expect(entries).toHaveLength(1);
  });
});

describe("the end of a call", () => {
  it("settles what was under way and keeps what was said", () => {
    const { entries, unansweredSince } = after(
      { type: "typed", id: "m1", speaker: visitor, text: "a" },
      { type: "sending", id: "m1" },
      { type: "typed", id: "m2", speaker: visitor, text: "b" },
      opened("s1", "SG_1"),
      text("s1", "half"),
      { type: "tool", report: { id: "c1", name: "lookup", args: "{}", outcome: "running" } },
      { type: "fault", id: "f1", text: "no model" },
      { type: "ended" },
    );
    expect(entries).toMatchObject([
      { phase: "failed" },
      { phase: "failed" },
      { phase: "cut", text: "half" },
      { outcome: "unknown" },
      { kind: "fault", text: "no model" },
    ]);
    expect(unansweredSince).toBeNull();
  });
});

it("ignores reports about what it does not know", () => {
  expect(after(text("s9", "x"), closed("s9"), { type: "delivered", id: "m9" })).toEqual(emptyTranscript);
});
