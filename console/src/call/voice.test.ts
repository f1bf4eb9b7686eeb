import { describe, expect, it } from "vitest";
import { noVoice, type Voice, voiceAfter, type VoiceEvent } from "./voice.ts";
import { microphoneFailureOf, microphoneProblem } from "./voiceProblems.ts";

/** Applies events one millisecond apart, starting at 1000. */
function after(...events: VoiceEvent[]): Voice {
  return events.reduce((voice, event, index) => voiceAfter(voice, event, 1000 + index), noVoice);
}

const problem = microphoneProblem("denied");

describe("the microphone", () => {
  it("is asked for, connected, on, muted and on again", () => {
    expect(after({ type: "asking" }).microphone).toEqual({ at: "asking", since: 1000 });
    const connecting = after({ type: "asking" }, { type: "acquired" });
    expect(connecting.microphone).toEqual({ at: "connecting", since: 1001 });
    const on = voiceAfter(connecting, { type: "open" }, 2000);
    expect(on.microphone).toEqual({ at: "on" });
    const muted = voiceAfter(on, { type: "muted", by: "server" }, 2001);
    expect(muted.microphone).toEqual({ at: "muted", by: "server" });
    expect(voiceAfter(muted, { type: "open" }, 2002)).toEqual(on);
  });

  it("is off with a reason when it does not come, until it is asked for again or the reason dismissed", () => {
    const refused = after({ type: "asking" }, { type: "off", problem });
    expect(refused).toMatchObject({ microphone: { at: "off" }, problem });
    expect(voiceAfter(refused, { type: "asking" }, 2000).problem).toBeNull();
    expect(voiceAfter(refused, { type: "dismissed" }, 2000).problem).toBeNull();
  });

  it("stays on while another one is opened in its place", () => {
    expect(after({ type: "asking" }, { type: "open" }, { type: "acquired" }).microphone).toEqual({ at: "on" });
  });
});

describe("sound", () => {
  it("is blocked until the browser plays it", () => {
    const blocked = after({ type: "hearing", tracks: 1 }, { type: "playback", allowed: false });
    expect(blocked).toMatchObject({ heard: 1, blocked: true });
    expect(voiceAfter(blocked, { type: "playback", allowed: true }, 2000).blocked).toBe(false);
  });

  it("is silenced apart from the microphone", () => {
    const voice = after({ type: "asking" }, { type: "open" }, { type: "silenced", silenced: true });
    expect(voice).toMatchObject({ microphone: { at: "on" }, silenced: true });
  });
});

describe("a microphone that does not open", () => {
  it.each([
    ["NotAllowedError", "Permission denied", "denied"],
    ["NotAllowedError", "Permission dismissed", "dismissed"],
    ["NotAllowedError", "Permission denied by system", "denied-by-system"],
    ["NotFoundError", "Requested device not found", "missing"],
    ["NotReadableError", "Could not start audio source", "busy"],
    ["ConnectionError", "publication of local track timed out, no response from server", "timeout"],
    ["TypeError", "x is undefined", "other"],
  ])("is a %s that says '%s': %s", (name, message, failure) => {
    expect(microphoneFailureOf(Object.assign(new Error(message), { name }))).toBe(failure);
  });

  it("is told apart by the status that LiveKit's client gives when the token does not allow it", () => {
    expect(microphoneFailureOf({ name: "PublishTrackError", message: "insufficient permissions", status: 403 })).toBe(
      "not-permitted",
    );
    expect(microphoneFailureOf({ name: "PublishTrackError", message: "not connected", status: 408 })).toBe("timeout");
  });

  it("can be tried again where that may help", () => {
    expect(microphoneProblem("denied").retry).toBe(true);
    expect(microphoneProblem("insecure", "", "http://10.0.0.5:7880").retry).toBe(false);
  });

  it("says where an insecure page came from, and what a server said", () => {
    expect(microphoneProblem("insecure", "", "http://10.0.0.5:7880").detail).toContain("http://10.0.0.5:7880");
    expect(microphoneProblem("refused", "no audio here").detail).toContain("no audio here.");
  });
});
