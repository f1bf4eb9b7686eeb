/** What keeps a voice out of a call, in words. */
import type { VoiceProblem } from "./voice.ts";

/** What may go wrong with a microphone, as far as the words differ. */
export type MicrophoneFailure =
  | "insecure"
  | "denied"
  | "denied-by-system"
  | "dismissed"
  | "missing"
  | "busy"
  | "not-permitted"
  | "refused"
  | "timeout"
  | "lost"
  | "other";

/** Sorts what the browser or LiveKit's client threw. */
export function microphoneFailureOf(error: unknown): MicrophoneFailure {
  const { name, message, status } = error as { name?: unknown; message?: unknown; status?: unknown };
  const said = typeof message === "string" ? message.toLowerCase() : "";
  switch (name) {
    case "NotAllowedError":
    case "SecurityError":
      if (said.includes("dismissed")) return "dismissed";
      return said.includes("system") ? "denied-by-system" : "denied";
    case "NotFoundError":
    case "OverconstrainedError":
      return "missing";
    case "NotReadableError":
    case "AbortError":
      return "busy";
    case "PublishTrackError":
      return status === 403 ? "not-permitted" : "timeout";
    default:
      return said.includes("timed out") || said.includes("timeout") ? "timeout" : "other";
  }
}

/**
 * Words for a microphone that could not be opened, or is gone.
 *
 * @param said what the browser, LiveKit's client or the server said of it.
 * @param page where the page was opened from, for who has to open it from elsewhere.
 */
export function microphoneProblem(failure: MicrophoneFailure, said = "", page = ""): VoiceProblem {
  switch (failure) {
    case "insecure":
      return problem(
        "This page may not use a microphone",
        `Browsers give one only to pages that came over https or from this machine, and this one came from ${page}. ` +
          "Open it as http://localhost on the machine that Greenroom runs on, or put https in front of it.",
        false,
      );
    case "denied":
      return problem(
        "The browser refused the microphone",
        "Allow it for this page, beside the page's address or in the browser's settings, then try again.",
      );
    case "denied-by-system":
      return problem(
        "The system refused the microphone",
        "The browser itself may not use it. Allow that in the system's privacy settings, then try again.",
      );
    case "dismissed":
      return problem("The microphone was not allowed", "The browser's question was closed. Try again and allow it.");
    case "missing":
      return problem("There is no microphone", "The browser finds none. Plug one in, then try again.");
    case "busy":
      return problem(
        "The microphone does not start",
        "Another program may be using it. Close that or choose another microphone, then try again.",
      );
    case "not-permitted":
      return problem(
        "You may not speak in this room",
        "The token of this call, or somebody with the API key, does not let you publish a microphone.",
        false,
      );
    case "refused":
      return problem("The server refused the microphone", `It says: ${sentence(said)} Typing still works.`);
    case "timeout":
      return problem(
        "The server did not take the microphone",
        "It was given long enough to answer. Its log may say why. Typing still works.",
      );
    case "lost":
      return problem("The microphone is gone", "It was unplugged or switched off. Choose another, then unmute.", false);
    case "other":
      return problem("The microphone could not be turned on", sentence(said));
  }
}

export const speakerProblem: VoiceProblem = {
  title: "The sound stays where it was",
  detail: "The browser did not switch to this speaker. It may be unplugged, or need the microphone allowed first.",
  retry: false,
};

function problem(title: string, detail: string, retry = true): VoiceProblem {
  return { title, detail, retry };
}

function sentence(text: string): string {
  const trimmed = text.trim();
  if (trimmed === "") return "No reason was given.";
  return /[.!?]$/.test(trimmed) ? trimmed : `${trimmed}.`;
}
