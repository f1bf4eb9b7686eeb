/** The sound of a call: the visitor's microphone, what is heard of the others, and what stands in the way. */

/** `asking`: the browser asks for the microphone. `connecting`: the server has not taken it yet. */
export type Microphone =
  | { readonly at: "off" | "on" }
  | { readonly at: "asking" | "connecting"; readonly since: number }
  | { readonly at: "muted"; readonly by: "visitor" | "server" };

/** Why something that was asked for did not happen, and what to do about it. */
export interface VoiceProblem {
  readonly title: string;
  readonly detail: string;
  /** Whether trying the microphone again may help. */
  readonly retry: boolean;
}

export interface Voice {
  readonly microphone: Microphone;
  readonly problem: VoiceProblem | null;
  /** How many audio tracks of others are received. */
  readonly heard: number;
  /** Whether the browser plays no sound before the visitor asks for it. */
  readonly blocked: boolean;
  /** Whether the visitor wants to hear nothing. */
  readonly silenced: boolean;
}

export type VoiceEvent =
  | { readonly type: "asking" }
  | { readonly type: "acquired" }
  | { readonly type: "open" }
  | { readonly type: "muted"; readonly by: "visitor" | "server" }
  | { readonly type: "off"; readonly problem: VoiceProblem | null }
  | { readonly type: "problem"; readonly problem: VoiceProblem }
  | { readonly type: "dismissed" }
  | { readonly type: "hearing"; readonly tracks: number }
  | { readonly type: "playback"; readonly allowed: boolean }
  | { readonly type: "silenced"; readonly silenced: boolean };

export const noVoice: Voice = {
  microphone: { at: "off" },
  problem: null,
  heard: 0,
  blocked: false,
  silenced: false,
};

/** Returns the voice after `event`, which happened `at`, in milliseconds since the epoch. */
export function voiceAfter(voice: Voice, event: VoiceEvent, at: number): Voice {
  switch (event.type) {
    case "asking":
      return { ...voice, microphone: { at: "asking", since: at }, problem: null };
    case "acquired":
      // The browser says so when another microphone is chosen, too.
      return voice.microphone.at === "asking" ? { ...voice, microphone: { at: "connecting", since: at } } : voice;
    case "open":
      return { ...voice, microphone: { at: "on" }, problem: null };
    case "muted":
      return { ...voice, microphone: { at: "muted", by: event.by } };
    case "off":
      return { ...voice, microphone: { at: "off" }, problem: event.problem };
    case "problem":
      return { ...voice, problem: event.problem };
    case "dismissed":
      return { ...voice, problem: null };
    case "hearing":
      return { ...voice, heard: event.tracks };
    case "playback":
      return { ...voice, blocked: !event.allowed };
    case "silenced":
      return { ...voice, silenced: event.silenced };
  }
}
