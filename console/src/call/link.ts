/** A call's edge: one LiveKit room, turned into events. Loaded when a call is near, for its size. */
import {
  ConnectionError,
  ConnectionErrorReason,
  ConnectionState,
  DisconnectReason,
  LogLevel,
  type Participant,
  type RemoteParticipant,
  Room,
  RoomEvent,
  setLogLevel,
  type TextStreamReader,
} from "livekit-client";
import type { RoomToken } from "../api/api.ts";
import { readAgentMessage } from "./agentMessages.ts";
import { type CallEvent, isAgentState, type PersonReport } from "./call.ts";
import { endOf, endOfJoin, type JoinFailure } from "./endings.ts";
import { Hearing } from "./hearing.ts";
import { Microphone } from "./microphone.ts";
import type { Speaker, TranscriptEvent } from "./transcript.ts";
import { randomUUID } from "./uuid.ts";
import type { VoiceEvent } from "./voice.ts";

const topic = { chat: "lk.chat", transcription: "lk.transcription", session: "lk.agent.session" } as const;

setLogLevel(LogLevel.warn);

// LiveKit's client needs it to send text, and browsers keep it from pages that came over plain http.
if (!("randomUUID" in crypto)) Object.assign(crypto, { randomUUID });

export class Link {
  readonly #room = new Room();
  #up = false;
  readonly #report: (event: CallEvent) => void;
  readonly microphone: Microphone;
  readonly hearing: Hearing;

  /** `speaker` is the id of the device to play on; empty for the system's choice. */
  constructor(report: (event: CallEvent) => void, speaker: string) {
    this.#report = report;
    const voice = (event: VoiceEvent) => {
      report({ type: "voice", event });
      if (event.type === "acquired") void this.hearing.refresh().catch(ignore);
    };
    this.hearing = new Hearing(this.#room, speaker, voice);
    this.microphone = new Microphone(this.#room, voice);
    this.#watchConnection();
    this.#watchPeople();
    this.#watchStreams();
  }

  /** Joins; resolves when the call is up or has ended. Never rejects: a failure is an event. */
  async join(ticket: RoomToken): Promise<void> {
    try {
      await this.#room.connect(ticket.url, ticket.token);
    } catch (error) {
      // The client puts this before the server's own words.
      const said = error instanceof Error ? error.message : String(error);
      const message = said.replace(/^could not establish signal connection: /, "");
      this.#report({ type: "ended", end: endOfJoin(failureOf(error, message), message, ticket.url) });
      return;
    }
    await this.#identify();
  }

  async leave(): Promise<void> {
    this.#hangUp();
    await this.#room.disconnect();
  }

  #hangUp(): void {
    this.microphone.close();
    this.hearing.close();
  }

  /** Sends what the visitor typed. Rejects when it could not be sent. */
  async send(text: string): Promise<void> {
    await this.#room.localParticipant.sendText(text, { topic: topic.chat });
  }

  /** A server that came back without its memory made a new room of the same name. */
  async #identify(): Promise<void> {
    this.#report({ type: "identified", sid: await this.#room.getSid() });
  }

  #watchConnection(): void {
    const room = this.#room;
    room.on(RoomEvent.Connected, () => {
      this.#up = true;
      this.#report({ type: "connected" });
      for (const participant of room.remoteParticipants.values()) this.#present(participant);
    });
    room.on(RoomEvent.ConnectionStateChanged, (state) => {
      if (state === ConnectionState.Reconnecting || state === ConnectionState.SignalReconnecting) {
        this.#report({ type: "interrupted" });
      } else if (state === ConnectionState.Connected) {
        this.#report({ type: "resumed" });
        void this.#identify();
      }
    });
    room.on(RoomEvent.Disconnected, (reason) => {
      // Of a call that never was, `join` says why.
      if (!this.#up) return;
      this.#hangUp();
      this.#report({ type: "ended", end: endOf(reason === undefined ? undefined : DisconnectReason[reason]) });
    });
  }

  #watchPeople(): void {
    const present = (_changed: unknown, participant: Participant) => {
      if (!participant.isLocal) this.#present(participant);
    };
    this.#room
      .on(RoomEvent.ParticipantConnected, (participant) => {
        this.#present(participant);
      })
      .on(RoomEvent.ParticipantDisconnected, (participant: RemoteParticipant) => {
        this.#report({ type: "gone", identity: participant.identity });
      })
      .on(RoomEvent.ParticipantAttributesChanged, present)
      .on(RoomEvent.ParticipantNameChanged, present);
  }

  #watchStreams(): void {
    this.#room.registerTextStreamHandler(topic.transcription, (reader, { identity }) => {
      void this.#transcribe(reader, identity);
    });
    this.#room.registerTextStreamHandler(topic.chat, (reader, { identity }) => {
      void this.#transcribe(reader, identity);
    });
    this.#room.registerByteStreamHandler(topic.session, (reader, { identity }) => {
      void reader.readAll().then((parts) => {
        const { tools, fault, interrupted, standIns } = readAgentMessage(joined(parts));
        for (const report of tools) this.#say({ type: "tool", report });
        if (interrupted !== null) this.#say({ type: "interrupted", identity, text: interrupted });
        if (standIns.length > 0) this.#report({ type: "stand-ins", identity, parts: standIns });
        if (fault !== null) this.#say({ type: "fault", id: reader.info.id, text: fault });
      }, ignore);
    });
  }

  /** A chat message is a segment that is final when its stream ends. */
  async #transcribe(reader: TextStreamReader, identity: string): Promise<void> {
    const { id: stream, attributes, topic: name } = reader.info;
    const segment = attributes?.["lk.segment_id"] ?? stream;
    this.#say({ type: "stream-opened", stream, segment, speaker: this.#speaker(identity) });
    try {
      for await (const text of reader) this.#say({ type: "stream-text", stream, text });
    } catch {
      this.#say({ type: "stream-broken", stream });
      return;
    }
    const final = name === topic.chat || reader.info.attributes?.["lk.transcription_final"] !== "false";
    this.#say({ type: "stream-closed", stream, final });
  }

  #say(event: TranscriptEvent): void {
    this.#report({ type: "transcript", event });
  }

  #present(participant: Participant): void {
    this.#report({ type: "present", person: personOf(participant) });
  }

  #speaker(identity: string): Speaker {
    const { localParticipant } = this.#room;
    if (identity === localParticipant.identity) {
      return { identity, name: localParticipant.name ?? "", role: "visitor" };
    }
    const participant = this.#room.getParticipantByIdentity(identity);
    if (participant === undefined) return { identity, name: identity, role: "other" };
    const { name, role } = personOf(participant);
    return { identity, name, role };
  }
}

function personOf(participant: Participant): PersonReport {
  const { identity, attributes } = participant;
  // An avatar's worker is an agent too, but the one it speaks for is whom the visitor talks to.
  const role = participant.isAgent && attributes["lk.publish_on_behalf"] === undefined ? "agent" : "other";
  const agentName = attributes["lk.agent.name"] ?? attributes["lk.agent_name"];
  const state = attributes["lk.agent.state"];
  const name = [participant.name, agentName, role === "agent" ? "Agent" : identity].find(Boolean) ?? identity;
  return { identity, name, role, state: isAgentState(state) ? state : null };
}

function failureOf(error: unknown, message: string): JoinFailure {
  if (!(error instanceof ConnectionError)) return "other";
  switch (error.reason) {
    case ConnectionErrorReason.NotAllowed:
    case ConnectionErrorReason.LeaveRequest:
      return "refused";
    case ConnectionErrorReason.ServerUnreachable:
    case ConnectionErrorReason.WebSocket:
      return "unreachable";
    case ConnectionErrorReason.Timeout:
      return "timeout";
    case ConnectionErrorReason.InternalError:
      return message.includes("pc connection") ? "no-media" : "other";
    default:
      return "other";
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

function ignore(): void {
  // A stream that breaks off says nothing; sound that cannot move stays where it is.
}
