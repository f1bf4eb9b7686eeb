/** Runs one call at a time and keeps its state for React (`useSyncExternalStore`). */
import { ApiError, createToken, type TokenRequest } from "../api/api.ts";
import { advance, type Call, type CallEvent, type CallRequest, hearableFrom, isInCall, noCall } from "./call.ts";
import { chosenDevice, type DeviceKind, rememberDevice } from "./devices.ts";
import { type CallEnd, endOf } from "./endings.ts";
import type { Link } from "./link.ts";
import type { Speaker, Utterance } from "./transcript.ts";

/** LiveKit's client gives up on a lost connection by itself, mostly; after this long the page does. */
const reconnectLimit = 60_000;

const loadLink = () => import("./link.ts");

interface Attempt {
  readonly abort: AbortController;
  readonly link: Link | null;
}

export class CallController {
  #call: Call = noCall;
  #attempt: Attempt | null = null;
  #sending = false;
  #typed = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #watchdog: ReturnType<typeof setTimeout> | undefined;
  readonly #listeners = new Set<() => void>();

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly snapshot = (): Call => this.#call;

  /** Loads the LiveKit client ahead of the first call. */
  readonly prepare = (): void => {
    void loadLink();
  };

  /** Starts a call; the one before must have ended. `identity` joins as somebody who was there before. */
  readonly start = (request: CallRequest, identity = ""): void => {
    if (isInCall(this.#call)) return;
    void this.#run(request, identity);
  };

  /** Joins the room of the last call again, as the same participant. */
  readonly rejoin = (): void => {
    const { request, room, me } = this.#call;
    if (request !== null && room !== null && me !== null) this.start({ ...request, room: room.name }, me.identity);
  };

  readonly leave = (): void => {
    this.#end(endOf("CLIENT_INITIATED"));
  };

  /** Adds what the visitor typed; it is sent as soon as somebody can hear it. */
  readonly type = (text: string): void => {
    const { me } = this.#call;
    if (me === null || !isInCall(this.#call) || text.trim() === "") return;
    // `crypto.randomUUID` is not there in pages that came over plain http.
    const id = `typed:${this.#typed++}`;
    this.#apply({ type: "transcript", event: { type: "typed", id, speaker: me, text: text.trim() } });
  };

  /** Turns the microphone on, or mutes and unmutes it. */
  readonly toggleMicrophone = (): void => {
    const link = this.#attempt?.link;
    const { at } = this.#call.voice.microphone;
    if (!link || !isInCall(this.#call)) return;
    if (at === "off") void link.microphone.open(chosenDevice("microphone"));
    else if (at === "on" || at === "muted") void link.microphone.setMuted(at === "on");
  };

  readonly toggleSound = (): void => {
    this.#attempt?.link?.hearing.silence(!this.#call.voice.silenced);
  };

  /** Starts playback that the browser holds back. */
  readonly startSound = (): void => {
    void this.#attempt?.link?.hearing.start();
  };

  readonly choose = (kind: DeviceKind, id: string): void => {
    rememberDevice(kind, id);
    const link = this.#attempt?.link;
    void (kind === "microphone" ? link?.microphone.choose(id) : link?.hearing.choose(id));
  };

  readonly dismiss = (): void => {
    this.#apply({ type: "voice", event: { type: "dismissed" } });
  };

  /** How loud the visitor is now, from 0 to 1. */
  readonly spokenLevel = (): number => this.#attempt?.link?.microphone.level() ?? 0;

  /** How loud the others are now, from 0 to 1. */
  readonly heardLevel = (): number => this.#attempt?.link?.hearing.level() ?? 0;

  #end(end: CallEnd): void {
    const attempt = this.#attempt;
    if (attempt === null) return;
    this.#attempt = null;
    attempt.abort.abort();
    this.#apply({ type: "ended", end });
    void attempt.link?.leave();
  }

  async #run(request: CallRequest, identity: string): Promise<void> {
    const abort = new AbortController();
    let attempt: Attempt = { abort, link: null };
    this.#attempt = attempt;
    const report = (event: CallEvent) => {
      if (this.#attempt === attempt) this.#apply(event);
    };
    report({ type: "asked", request });
    try {
      const [{ Link: LinkClass }, ticket] = await Promise.all([
        loadLink(),
        createToken(tokenRequest(request, identity), abort.signal),
      ]);
      if (this.#attempt !== attempt) return;
      const me: Speaker = { identity: ticket.identity, name: request.name, role: "visitor" };
      report({ type: "admitted", room: { url: ticket.url, name: ticket.room, sid: "" }, me });
      const link = new LinkClass(report, chosenDevice("speaker"));
      attempt = this.#attempt = { abort, link };
      await link.join(ticket);
    } catch (error) {
      report({ type: "ended", end: endOfRequest(error) });
    }
  }

  #apply(event: CallEvent): void {
    const before = this.#call.connection.at;
    this.#call = advance(this.#call, event, Date.now());
    if (this.#call.connection.at !== before) {
      clearTimeout(this.#watchdog);
      if (this.#call.connection.at === "reconnecting") {
        this.#watchdog = setTimeout(() => {
          this.#end(endOf("SIGNAL_CLOSE"));
        }, reconnectLimit);
      }
    }
    for (const listener of this.#listeners) listener();
    void this.#sendWaiting();
  }

  /** Sends what waits, in order, one at a time; comes back by itself when the time has not come. */
  async #sendWaiting(): Promise<void> {
    clearTimeout(this.#timer);
    const message = this.#call.transcript.entries.find(isWaiting);
    const link = this.#attempt?.link;
    if (this.#sending || message === undefined || !link) return;
    const from = hearableFrom(this.#call, message.at);
    if (from === null) return;
    const wait = from - Date.now();
    if (wait > 0) {
      this.#timer = setTimeout(() => void this.#sendWaiting(), wait);
      return;
    }
    this.#sending = true;
    const { id } = message;
    this.#apply({ type: "transcript", event: { type: "sending", id } });
    const delivered = await link.send(message.text).then(
      () => true,
      () => false,
    );
    this.#sending = false;
    this.#apply({ type: "transcript", event: { type: delivered ? "delivered" : "undelivered", id } });
  }
}

function isWaiting(entry: { kind: string }): entry is Utterance {
  return entry.kind === "utterance" && (entry as Utterance).phase === "waiting";
}

function tokenRequest(request: CallRequest, identity: string): TokenRequest {
  const { agentName, agentMetadata, name, room } = request;
  return {
    ...(room === "" ? {} : { room }),
    ...(identity === "" ? {} : { identity }),
    ...(name === "" ? {} : { name }),
    ...(agentName === null ? {} : { agent_name: agentName }),
    ...(agentName === null || agentMetadata === "" ? {} : { agent_metadata: agentMetadata }),
  };
}

function endOfRequest(error: unknown): CallEnd {
  const end = { tone: "problem", title: "Could not start the call", rejoin: false } as const;
  if (error instanceof ApiError) return { ...end, detail: [`${error.message}.`, error.fix].join(" ").trim() };
  return { ...end, detail: error instanceof Error ? error.message : String(error) };
}
