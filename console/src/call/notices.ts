/** The one thing a caller should know right now, beside the conversation itself. */
import type { ListedAgent } from "../api/api.ts";
import { agentOf, type Call } from "./call.ts";

/**
 * - `again` starts the same call anew, `rejoin` goes back into the same room
 * - `microphone` asks for the microphone once more, `sound` starts playback, `dismiss` takes the notice away
 */
export type NoticeAction = "again" | "rejoin" | "microphone" | "sound" | "dismiss";

export interface Notice {
  readonly tone: "busy" | "calm" | "problem";
  readonly title: string;
  readonly detail: string;
  /** Commands to paste. */
  readonly commands: readonly string[];
  readonly actions: readonly NoticeAction[];
  /** Since when it lasts, where that is of interest. */
  readonly since: number | null;
}

/** An agent that takes longer than this to come deserves an explanation. */
export const patience = 5000;

/** `agents` is what Greenroom knows of agents; `undefined` while it does not answer. */
export function noticeOf(call: Call, agents: readonly ListedAgent[] | undefined, now: number): Notice | null {
  const { connection } = call;
  switch (connection.at) {
    case "idle":
      return null;
    case "joining":
      return notice("busy", "Joining the call");
    case "reconnecting": {
      const detail = "The connection was interrupted. What you type is sent once it is back.";
      return { ...notice("busy", "Reconnecting", detail), since: connection.lostAt };
    }
    case "ended": {
      const { tone, title, detail, rejoin } = connection.end;
      return notice(tone, title, detail, [], rejoin && call.room !== null ? ["rejoin", "again"] : ["again"]);
    }
    case "live":
      if (agentOf(call) !== null) return null;
      if (call.departed !== null) {
        return notice(
          "calm",
          `${call.departed.name} left the call`,
          "The conversation stays here. Call again to reach it.",
          [],
          ["again"],
        );
      }
      return { ...waiting(call, agents, now - connection.since), since: connection.since };
  }
}

/** The browser's question is answered, and a microphone taken, within this long, mostly. */
export const voicePatience = 1500;

/** What stands in the way of talking and hearing. */
export function voiceNoticeOf({ voice }: Call, now: number): Notice | null {
  const { microphone, problem, blocked } = voice;
  if (problem !== null) {
    return notice(
      "problem",
      problem.title,
      problem.detail,
      [],
      problem.retry ? ["microphone", "dismiss"] : ["dismiss"],
    );
  }
  if (blocked) {
    return notice("problem", "The sound is off", "The browser plays none until you ask for it.", [], ["sound"]);
  }
  if (microphone.at === "asking" && now - microphone.since > voicePatience) {
    return notice("busy", "Allow the microphone", "The browser asks whether this page may use it.");
  }
  if (microphone.at === "connecting" && now - microphone.since > voicePatience) {
    return notice("busy", "Connecting the microphone", "The server has not taken it yet.");
  }
  if (microphone.at === "muted" && microphone.by === "server") {
    return notice("calm", "You were muted", "Somebody with the API key muted your microphone.");
  }
  return null;
}

function waiting(call: Call, agents: readonly ListedAgent[] | undefined, waited: number): Notice {
  const name = call.request?.agentName ?? "";
  const shown = name === "" ? "an agent" : name;
  const listed = agents?.find((agent) => agent.name === name);
  if (listed?.state === "failed") {
    const detail = listed.detail || "Its log says why.";
    return notice(
      "problem",
      `${capital(shown)} is not running`,
      `${detail} The call is kept for it while you mend that.`,
    );
  }
  if (listed?.state === "starting") {
    return notice(
      "busy",
      `${capital(shown)} is starting`,
      listed.detail || "It takes the call as soon as it is ready.",
    );
  }
  if (waited < patience) return notice("busy", `Waiting for ${shown}`);
  const title = "No agent has taken the call yet";
  if (listed !== undefined) {
    return notice(
      "problem",
      title,
      `${capital(shown)} is ready as far as this page knows. Its log says whether it was offered the call.`,
    );
  }
  const detail =
    name === ""
      ? "The server offers it to agents that are registered without a name. Start one, and it takes this call:"
      : `Nothing called ${name} is known to be registered. Check the name, or start it, and it takes this call:`;
  return notice("problem", title, detail, startCommands(call.room?.url ?? ""));
}

function startCommands(url: string): string[] {
  return [`export LIVEKIT_URL=${url} LIVEKIT_API_KEY=… LIVEKIT_API_SECRET=…`, "python agent.py start"];
}

function notice(
  tone: Notice["tone"],
  title: string,
  detail = "",
  commands: readonly string[] = [],
  actions: readonly NoticeAction[] = [],
): Notice {
  return { tone, title, detail, commands, actions, since: null };
}

function capital(text: string): string {
  return text === "an agent" ? "The agent" : text;
}
