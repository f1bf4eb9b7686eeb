/** Why a call ended, or never began, in words. */

export interface CallEnd {
  /** `calm`: as somebody wished. `problem`: something is wrong. */
  readonly tone: "calm" | "problem";
  readonly title: string;
  /** What to do about it, or what happened to the other side. */
  readonly detail: string;
  /** Whether the same room can be joined again with the same identity. */
  readonly rejoin: boolean;
}

/** LiveKit's `DisconnectReason`, by name. */
export type EndReason =
  | "CLIENT_INITIATED"
  | "DUPLICATE_IDENTITY"
  | "SERVER_SHUTDOWN"
  | "PARTICIPANT_REMOVED"
  | "ROOM_DELETED"
  | "ROOM_CLOSED"
  | "STATE_MISMATCH"
  | "JOIN_FAILURE"
  | "SIGNAL_CLOSE"
  | "CONNECTION_TIMEOUT"
  | "MEDIA_FAILURE"
  | "AGENT_ERROR";

const endings: Record<EndReason, CallEnd> = {
  CLIENT_INITIATED: { tone: "calm", title: "You left the call", detail: "", rejoin: false },
  DUPLICATE_IDENTITY: {
    tone: "problem",
    title: "Somebody else joined as you",
    detail: "Another tab or program joined this room with the same identity, so the server closed this connection.",
    rejoin: false,
  },
  SERVER_SHUTDOWN: {
    tone: "problem",
    title: "The server stopped",
    detail: "It closed the call before it went. Start it again, then call again.",
    rejoin: false,
  },
  PARTICIPANT_REMOVED: {
    tone: "problem",
    title: "You were removed from the room",
    detail: "Somebody with the API key ended your part of the call.",
    rejoin: true,
  },
  ROOM_DELETED: {
    tone: "calm",
    title: "The call was ended",
    detail: "The agent, or somebody with the API key, deleted the room.",
    rejoin: false,
  },
  ROOM_CLOSED: { tone: "calm", title: "The room was closed", detail: "Nobody was left in it.", rejoin: false },
  STATE_MISMATCH: {
    tone: "problem",
    title: "The server lost this connection",
    detail: "It no longer knew the connection that the page tried to resume. It may have been restarted.",
    rejoin: true,
  },
  JOIN_FAILURE: {
    tone: "problem",
    title: "The call could not be set up",
    detail: "The server gave up before the connection was complete. Its log says why.",
    rejoin: true,
  },
  SIGNAL_CLOSE: {
    tone: "problem",
    title: "The server is gone",
    detail: "It stopped answering, and reconnecting did not help. Check that it is running, then rejoin.",
    rejoin: true,
  },
  CONNECTION_TIMEOUT: {
    tone: "problem",
    title: "The connection broke off",
    detail: "No packets came through any more. Check that the server's UDP port can be reached from here.",
    rejoin: true,
  },
  MEDIA_FAILURE: {
    tone: "problem",
    title: "The connection failed",
    detail: "Media could not be sent or received. Check that the server's UDP port can be reached from here.",
    rejoin: true,
  },
  AGENT_ERROR: {
    tone: "problem",
    title: "The agent failed",
    detail: "It ended the call because of an error. Its log says which.",
    rejoin: false,
  },
};

const lost: CallEnd = endings.SIGNAL_CLOSE;

/** Words for a disconnect reason; a reason the client could not name means that the server is gone. */
export function endOf(reason: string | undefined): CallEnd {
  return reason !== undefined && Object.hasOwn(endings, reason) ? endings[reason as EndReason] : lost;
}

/** How LiveKit's client classifies a failed join, as far as the words differ. */
export type JoinFailure = "refused" | "unreachable" | "timeout" | "no-media" | "other";

/** Words for a join that failed. `message` is what the client said, `url` where it tried. */
export function endOfJoin(failure: JoinFailure, message: string, url: string): CallEnd {
  const end = { tone: "problem", title: "Could not join", rejoin: false } as const;
  switch (failure) {
    case "refused":
      return { ...end, title: "The server refused the call", detail: sentence(message) };
    case "unreachable":
      return {
        ...end,
        title: "The server does not answer",
        detail: `Nothing answers at ${url}. Check that it is running.`,
      };
    case "timeout":
      return { ...end, title: "The server does not answer", detail: `${url} took too long to let the call in.` };
    case "no-media":
      return {
        ...end,
        title: "No media path to the server",
        detail: "It let the call in, but no packets came through. Check that its UDP port can be reached from here.",
      };
    case "other":
      return { ...end, detail: sentence(message) };
  }
}

function sentence(text: string): string {
  const trimmed = text.trim();
  return /[.!?]$/.test(trimmed) ? trimmed : `${trimmed}.`;
}
