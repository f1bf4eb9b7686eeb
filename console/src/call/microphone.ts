/** The visitor's microphone in a LiveKit room. */
import {
  type LocalTrack,
  type LocalTrackPublication,
  type Participant,
  ParticipantEvent,
  type Room,
  RoomEvent,
  Track,
  TrackEvent,
  type TrackPublication,
} from "livekit-client";
import { LevelMeter } from "./loudness.ts";
import type { VoiceEvent, VoiceProblem } from "./voice.ts";
import { microphoneFailureOf, microphoneProblem } from "./voiceProblems.ts";

export class Microphone {
  readonly #room: Room;
  readonly #report: (event: VoiceEvent) => void;
  readonly #meter = new LevelMeter();
  #published = false;
  #muting = false;
  #closed = false;

  constructor(room: Room, report: (event: VoiceEvent) => void) {
    this.#room = room;
    this.#report = report;
    room.localParticipant.on(ParticipantEvent.AudioStreamAcquired, () => {
      report({ type: "acquired" });
    });
    room
      .on(RoomEvent.LocalTrackPublished, (publication) => {
        this.#watchLevel(publication);
      })
      .on(RoomEvent.LocalTrackUnpublished, this.#checkPermission)
      .on(RoomEvent.ParticipantPermissionsChanged, this.#checkPermission)
      .on(RoomEvent.TrackMuted, (publication, participant) => {
        if (isMicrophone(publication, participant)) this.#muted(publication);
      })
      .on(RoomEvent.TrackUnmuted, (publication, participant) => {
        if (isMicrophone(publication, participant)) report({ type: "open" });
      });
  }

  /** Asks the browser for the microphone and publishes it. Never rejects: a failure is an event. */
  async open(device: string): Promise<void> {
    this.#report({ type: "asking" });
    if (!canCapture()) {
      this.#report({ type: "off", problem: microphoneProblem("insecure", "", location.origin) });
      return;
    }
    const { localParticipant } = this.#room;
    const refusal = this.#refusal();
    let tracks: LocalTrack[] = [];
    try {
      tracks = await localParticipant.createTracks({ audio: device === "" ? true : { deviceId: device } });
      if (this.#closed) throw new Error("The call is over");
      const publishing = Promise.all(tracks.map((track) => localParticipant.publishTrack(track)));
      // LiveKit's client does not look at refusals: left to itself it would wait until its patience ends.
      await Promise.race([publishing, refusal.said]);
      this.#published = true;
      this.#report({ type: "open" });
    } catch (error) {
      for (const track of tracks) track.stop();
      this.#report({ type: "off", problem: problemOf(error) });
    } finally {
      refusal.stop();
    }
  }

  async setMuted(muted: boolean): Promise<void> {
    this.#muting = muted;
    try {
      await this.#room.localParticipant.setMicrophoneEnabled(!muted);
    } catch (error) {
      this.#report({ type: "problem", problem: problemOf(error) });
    } finally {
      this.#muting = false;
    }
  }

  /** Goes on with another microphone, when one is in use. */
  async choose(device: string): Promise<void> {
    if (this.#publication() === undefined) return;
    try {
      await this.#room.switchActiveDevice("audioinput", device || "default", device !== "");
    } catch (error) {
      this.#report({ type: "problem", problem: problemOf(error) });
    }
  }

  level(): number {
    return this.#meter.read();
  }

  /** Lets go of the device. */
  close(): void {
    this.#closed = true;
    this.#publication()?.track?.stop();
    this.#meter.close();
  }

  #publication(): LocalTrackPublication | undefined {
    return this.#room.localParticipant.getTrackPublication(Track.Source.Microphone);
  }

  #watchLevel({ track, source }: LocalTrackPublication): void {
    if (track === undefined || source !== Track.Source.Microphone) return;
    const watch = () => {
      if (!this.#closed) this.#meter.put("microphone", track.mediaStreamTrack);
    };
    track.on(TrackEvent.Restarted, watch);
    watch();
  }

  #muted(publication: TrackPublication): void {
    this.#report({ type: "muted", by: this.#muting ? "visitor" : "server" });
    // The client mutes what it cannot go on with.
    if (publication.track?.mediaStreamTrack.readyState === "ended") {
      this.#report({ type: "problem", problem: microphoneProblem("lost") });
    }
  }

  /** A participant that may not publish any more has its tracks taken away. */
  readonly #checkPermission = (): void => {
    const { permissions } = this.#room.localParticipant;
    if (!this.#published || this.#publication() !== undefined || permissions?.canPublish !== false) return;
    this.#published = false;
    this.#meter.remove("microphone");
    this.#report({ type: "off", problem: microphoneProblem("not-permitted") });
  };

  /** Rejects when the server refuses a track. */
  #refusal(): { said: Promise<never>; stop: () => void } {
    const { engine } = this.#room;
    let stop: () => void = ignore;
    const said = new Promise<never>((_resolve, reject) => {
      const onAnswer = (answer: { reason: number; message: string; request: { case?: string | undefined } }) => {
        if (answer.request.case === "addTrack" && answer.reason !== 0) reject(new Refusal(answer.message));
      };
      engine.on("signalRequestResponse", onAnswer);
      stop = () => engine.off("signalRequestResponse", onAnswer);
    });
    said.catch(ignore);
    return { said, stop };
  }
}

/** The server's words when it does not take a track. */
class Refusal extends Error {}

function problemOf(error: unknown): VoiceProblem {
  if (error instanceof Refusal) return microphoneProblem("refused", error.message);
  return microphoneProblem(microphoneFailureOf(error), error instanceof Error ? error.message : String(error));
}

function canCapture(): boolean {
  // Typed as always there, and missing outside secure contexts.
  return window.isSecureContext && "mediaDevices" in navigator;
}

function isMicrophone(publication: TrackPublication, participant: Participant): boolean {
  return participant.isLocal && publication.source === Track.Source.Microphone;
}

function ignore(): void {
  // What went wrong is told elsewhere.
}
