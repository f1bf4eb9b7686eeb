/** A call as the page knows it: one state, and what happens to it. Times are milliseconds since the epoch. */
import { type CallEnd } from "./endings.ts";
import {
  emptyTranscript,
  type Role,
  type Speaker,
  transcribe,
  type Transcript,
  type TranscriptEvent,
} from "./transcript.ts";
import { type StandIn, withStandIns } from "./standIns.ts";
import { noVoice, type Voice, voiceAfter, type VoiceEvent } from "./voice.ts";

/** What the caller chose. */
export interface CallRequest {
  /** `null`: whichever unnamed agent the server dispatches. */
  readonly agentName: string | null;
  readonly name: string;
  /** Empty: a fresh one. */
  readonly room: string;
  readonly agentMetadata: string;
}

export const agentStates = ["initializing", "idle", "listening", "thinking", "speaking"] as const;
export type AgentState = (typeof agentStates)[number];

export interface StateChange {
  readonly state: AgentState | null;
  readonly at: number;
}

export interface Person {
  readonly identity: string;
  readonly name: string;
  readonly role: Role;
  /** Of agents: what they say of themselves; `null` while they say nothing. */
  readonly state: AgentState | null;
  /** The latest changes of state, oldest first; the last one is the state now. */
  readonly history: readonly StateChange[];
  readonly joinedAt: number;
}

const historyLength = 240;

export type Connection =
  | { readonly at: "idle" }
  | { readonly at: "joining"; readonly since: number }
  | { readonly at: "live"; readonly since: number }
  | { readonly at: "reconnecting"; readonly since: number; readonly lostAt: number }
  | { readonly at: "ended"; readonly since: number | null; readonly endedAt: number; readonly end: CallEnd };

export interface RoomFacts {
  readonly url: string;
  readonly name: string;
  /** Empty until the server has said it. */
  readonly sid: string;
}

export interface Call {
  readonly connection: Connection;
  readonly request: CallRequest | null;
  readonly room: RoomFacts | null;
  readonly me: Speaker | null;
  /** Everybody else, in the order they came. */
  readonly others: readonly Person[];
  /** The last agent that left, while none is there. */
  readonly departed: { readonly identity: string; readonly name: string; readonly at: number } | null;
  /** By the identity of an agent that told them: which of its parts stand in for a service. */
  readonly standIns: Readonly<Record<string, readonly StandIn[]>>;
  readonly transcript: Transcript;
  readonly voice: Voice;
}

/** What the server says of another participant. */
export interface PersonReport {
  readonly identity: string;
  readonly name: string;
  readonly role: Role;
  readonly state: AgentState | null;
}

export type CallEvent =
  | { readonly type: "asked"; readonly request: CallRequest }
  | { readonly type: "admitted"; readonly room: RoomFacts; readonly me: Speaker }
  | { readonly type: "connected" }
  | { readonly type: "identified"; readonly sid: string }
  | { readonly type: "interrupted" }
  | { readonly type: "resumed" }
  | { readonly type: "present"; readonly person: PersonReport }
  | { readonly type: "gone"; readonly identity: string }
  | { readonly type: "stand-ins"; readonly identity: string; readonly parts: readonly StandIn[] }
  | { readonly type: "ended"; readonly end: CallEnd }
  | { readonly type: "transcript"; readonly event: TranscriptEvent }
  | { readonly type: "voice"; readonly event: VoiceEvent };

export const noCall: Call = {
  connection: { at: "idle" },
  request: null,
  room: null,
  me: null,
  others: [],
  departed: null,
  standIns: {},
  transcript: emptyTranscript,
  voice: noVoice,
};

/** Returns the call after `event`, which happened `at`. */
export function advance(call: Call, event: CallEvent, at: number): Call {
  switch (event.type) {
    case "asked":
      return { ...noCall, request: event.request, connection: { at: "joining", since: at } };
    case "admitted":
      return { ...call, room: event.room, me: event.me };
    case "connected":
      return { ...call, connection: { at: "live", since: at } };
    case "identified":
      return call.room === null ? call : { ...call, room: { ...call.room, sid: event.sid } };
    case "interrupted":
      if (call.connection.at !== "live") return call;
      return { ...call, connection: { at: "reconnecting", since: call.connection.since, lostAt: at } };
    case "resumed":
      if (call.connection.at !== "reconnecting") return call;
      return { ...call, connection: { at: "live", since: call.connection.since } };
    case "present":
      return admit(call, event.person, at);
    case "gone":
      return dismiss(call, event.identity, at);
    case "stand-ins": {
      const known = call.standIns[event.identity] ?? [];
      const parts = withStandIns(known, event.parts);
      return parts === known ? call : { ...call, standIns: { ...call.standIns, [event.identity]: parts } };
    }
    case "ended": {
      if (call.connection.at === "idle" || call.connection.at === "ended") return call;
      const since = call.connection.at === "joining" ? null : call.connection.since;
      return {
        ...call,
        connection: { at: "ended", since, endedAt: at, end: event.end },
        transcript: transcribe(call.transcript, { type: "ended" }, at),
        voice: noVoice,
      };
    }
    case "transcript":
      return { ...call, transcript: transcribe(call.transcript, event.event, at) };
    case "voice":
      return { ...call, voice: voiceAfter(call.voice, event.event, at) };
  }
}

function admit(call: Call, report: PersonReport, at: number): Call {
  const known = call.others.find((person) => person.identity === report.identity);
  const history =
    known?.state === report.state ? known.history : [...(known?.history ?? []), { state: report.state, at }];
  const person: Person = { ...report, joinedAt: known?.joinedAt ?? at, history: history.slice(-historyLength) };
  const others = known ? call.others.map((other) => (other === known ? person : other)) : [...call.others, person];
  return { ...call, others, departed: person.role === "agent" ? null : call.departed };
}

function dismiss(call: Call, identity: string, at: number): Call {
  const person = call.others.find((other) => other.identity === identity);
  if (person === undefined) return call;
  const others = call.others.filter((other) => other !== person);
  const lastAgent = person.role === "agent" && !others.some((other) => other.role === "agent");
  return { ...call, others, departed: lastAgent ? { identity, name: person.name, at } : call.departed };
}

/** The agent that the visitor talks to: the first one there. */
export function agentOf(call: Call): Person | null {
  return call.others.find((person) => person.role === "agent") ?? null;
}

/** Which parts of that agent stand in for a service; of one that left, those that did. */
export function standInsOf(call: Call): readonly StandIn[] {
  const agent = agentOf(call) ?? call.departed;
  return (agent === null ? undefined : call.standIns[agent.identity]) ?? [];
}

export function isInCall(call: Call): boolean {
  return call.connection.at !== "idle" && call.connection.at !== "ended";
}

/** Whether what the page shows of others may have changed since. */
export function isStale(call: Call): boolean {
  return call.connection.at === "reconnecting";
}

/** An agent that does not say its state is taken to listen after this long. */
export const silentAgentGrace = 3000;
/** An agent that has been quiet for this long has said its greeting, or has none. */
export const settling = 700;

/**
 * When a message typed at `typedAt` can be sent: a time, now or in the past when it can be, or `null` while nobody
 * could hear it. An agent takes text only once its session runs; before that a message would be lost. One that was
 * typed before the agent could hear waits for the end of the greeting too, which it would cut off.
 */
export function hearableFrom(call: Call, typedAt: number): number | null {
  if (call.connection.at !== "live") return null;
  const agent = agentOf(call);
  if (agent === null) return null;
  const ready = agent.history.find(({ state }) => state !== null && state !== "initializing");
  if (ready === undefined) return agent.state === null ? agent.joinedAt + silentAgentGrace : null;
  if (typedAt >= ready.at) return ready.at;
  const { history } = agent;
  const quiet = history.find(
    ({ state, at }, index) =>
      (state === "listening" || state === "idle") && (history[index + 1]?.at ?? Infinity) - at >= settling,
  );
  return quiet === undefined ? null : quiet.at + settling;
}

/** How long the call has lasted or did last, in milliseconds; `null` before it is connected. */
export function durationOf(call: Call, now: number): number | null {
  const { connection } = call;
  if (connection.at === "idle" || connection.at === "joining" || connection.since === null) return null;
  return (connection.at === "ended" ? connection.endedAt : now) - connection.since;
}

export function isAgentState(value: string | undefined): value is AgentState {
  return agentStates.some((state) => state === value);
}
