import { describe, expect, it } from "vitest";
import type { ListedAgent } from "../api/api.ts";
import { advance, type Call, type CallEvent, noCall } from "./call.ts";
import { endOf } from "./endings.ts";
import { noticeOf, patience, voiceNoticeOf, voicePatience } from "./notices.ts";
import type { VoiceEvent } from "./voice.ts";
import { microphoneProblem } from "./voiceProblems.ts";

const request = { agentName: "front-desk", name: "", room: "", agentMetadata: "" };
const room = { url: "ws://127.0.0.1:7880", name: "playground-1", sid: "" };
const present: CallEvent = {
  type: "present",
  person: { identity: "agent-1", name: "front-desk", role: "agent", state: "listening" },
};

/** A call that went live at 1000 and then saw `events`. */
function live(agentName: string | null, ...events: CallEvent[]): Call {
  const joined: CallEvent[] = [
    { type: "asked", request: { ...request, agentName } },
    { type: "admitted", room, me: { identity: "visitor-1", name: "", role: "visitor" } },
    { type: "connected" },
  ];
  return [...joined, ...events].reduce((call, event) => advance(call, event, 1000), noCall);
}

function listed(state: ListedAgent["state"], detail = ""): ListedAgent[] {
  return [{ name: "front-desk", state, detail }];
}

describe("while no agent is there", () => {
  it("waits without a fuss at first", () => {
    expect(noticeOf(live("front-desk"), [], 1000)).toMatchObject({
      tone: "busy",
      title: "Waiting for front-desk",
      detail: "",
    });
    expect(noticeOf(live(null), [], 1000)).toMatchObject({ title: "Waiting for an agent" });
  });

  it("says what to start when nothing of that name is known", () => {
    const notice = noticeOf(live("front-desk"), [], 1000 + patience);
    expect(notice).toMatchObject({ tone: "problem", title: "No agent has taken the call yet" });
    expect(notice?.detail).toContain("Nothing called front-desk is known");
    expect(notice?.commands.join("\n")).toContain("LIVEKIT_URL=ws://127.0.0.1:7880");
  });

  it("speaks of unnamed agents when any may come", () => {
    expect(noticeOf(live(null), undefined, 1000 + patience)?.detail).toContain("registered without a name");
  });

  it("says at once that the agent is starting or has failed, and why", () => {
    expect(noticeOf(live("front-desk"), listed("starting", "loading models"), 1000)).toMatchObject({
      tone: "busy",
      title: "front-desk is starting",
      detail: "loading models",
    });
    const failed = noticeOf(live("front-desk"), listed("failed", "agent.py:3: no module named 'x'."), 1000);
    expect(failed).toMatchObject({ tone: "problem", title: "front-desk is not running" });
    expect(failed?.detail).toContain("agent.py:3");
  });

  it("points at the log of an agent that is ready and does not come", () => {
    expect(noticeOf(live("front-desk"), listed("ready"), 1000 + patience)?.detail).toContain("Its log says");
  });
});

describe("while an agent is there", () => {
  it("has nothing to say", () => {
    expect(noticeOf(live("front-desk", present), [], 90_000)).toBeNull();
  });

  it("says that it left, and offers another call", () => {
    const call = live("front-desk", present, { type: "gone", identity: "agent-1" });
    expect(noticeOf(call, [], 2000)).toMatchObject({ title: "front-desk left the call", actions: ["again"] });
  });
});

describe("the connection", () => {
  it("says since when it has been interrupted", () => {
    const call = live("front-desk", present, { type: "interrupted" });
    expect(noticeOf(call, [], 8500)).toMatchObject({ tone: "busy", title: "Reconnecting", since: 1000 });
  });

  it("says why it ended, and offers the room again where that makes sense", () => {
    const gone = live("front-desk", { type: "ended", end: endOf("SIGNAL_CLOSE") });
    expect(noticeOf(gone, [], 2000)).toMatchObject({
      tone: "problem",
      title: "The server is gone",
      actions: ["rejoin", "again"],
    });
    const left = live("front-desk", { type: "ended", end: endOf("CLIENT_INITIATED") });
    expect(noticeOf(left, [], 2000)).toMatchObject({ tone: "calm", title: "You left the call", actions: ["again"] });
  });
});

describe("of the voice", () => {
  const withVoice = (...events: VoiceEvent[]) =>
    live("front-desk", ...events.map((event): CallEvent => ({ type: "voice", event })));

  it("says nothing while all is well, and nothing of a question that is soon answered", () => {
    expect(voiceNoticeOf(withVoice({ type: "asking" }, { type: "acquired" }, { type: "open" }), 9000)).toBeNull();
    expect(voiceNoticeOf(withVoice({ type: "asking" }), 1000 + voicePatience)).toBeNull();
  });

  it("says whom the microphone waits for", () => {
    const later = 1001 + voicePatience;
    expect(voiceNoticeOf(withVoice({ type: "asking" }), later)?.title).toBe("Allow the microphone");
    const connecting = withVoice({ type: "asking" }, { type: "acquired" });
    expect(voiceNoticeOf(connecting, later)?.title).toBe("Connecting the microphone");
  });

  it("says why there is no microphone, and offers to try again where that may help", () => {
    const denied = withVoice({ type: "asking" }, { type: "off", problem: microphoneProblem("denied") });
    expect(voiceNoticeOf(denied, 1000)).toMatchObject({ tone: "problem", actions: ["microphone", "dismiss"] });
    const insecure = withVoice({ type: "asking" }, { type: "off", problem: microphoneProblem("insecure") });
    expect(voiceNoticeOf(insecure, 1000)).toMatchObject({ actions: ["dismiss"] });
  });

  it("says when the browser holds the sound back, and when somebody else muted the visitor", () => {
    expect(voiceNoticeOf(withVoice({ type: "playback", allowed: false }), 1000)).toMatchObject({ actions: ["sound"] });
    expect(voiceNoticeOf(withVoice({ type: "muted", by: "server" }), 1000)?.title).toBe("You were muted");
    expect(voiceNoticeOf(withVoice({ type: "muted", by: "visitor" }), 1000)).toBeNull();
  });
});

it("says nothing before the first call", () => {
  expect(noticeOf(noCall, [], 0)).toBeNull();
});
