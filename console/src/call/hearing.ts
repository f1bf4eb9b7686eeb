/** What a visitor hears of the others in a LiveKit room. */
import { type RemoteTrack, type Room, RoomEvent, Track } from "livekit-client";
import { canChooseSpeaker } from "./devices.ts";
import { LevelMeter } from "./loudness.ts";
import type { VoiceEvent } from "./voice.ts";
import { speakerProblem } from "./voiceProblems.ts";

export class Hearing {
  readonly #room: Room;
  readonly #report: (event: VoiceEvent) => void;
  readonly #meter = new LevelMeter();
  readonly #elements = new Map<RemoteTrack, HTMLMediaElement>();
  #speaker: string;
  #silenced = false;

  constructor(room: Room, speaker: string, report: (event: VoiceEvent) => void) {
    this.#room = room;
    this.#speaker = speaker;
    this.#report = report;
    room
      .on(RoomEvent.TrackSubscribed, this.#add)
      .on(RoomEvent.TrackUnsubscribed, this.#remove)
      .on(RoomEvent.AudioPlaybackStatusChanged, () => {
        report({ type: "playback", allowed: room.canPlaybackAudio });
      });
  }

  readonly #add = (track: RemoteTrack): void => {
    if (track.kind !== Track.Kind.Audio || this.#elements.has(track)) return;
    const element = track.attach();
    this.#elements.set(track, element);
    document.body.append(element);
    this.#silence(element);
    // The client takes the mute away when it starts playback.
    element.addEventListener("volumechange", () => {
      this.#silence(element);
    });
    if (this.#speaker !== "") void this.#play(element).catch(ignore);
    if (track.sid !== undefined) this.#meter.put(track.sid, track.mediaStreamTrack);
    this.#report({ type: "hearing", tracks: this.#elements.size });
  };

  readonly #remove = (track: RemoteTrack): void => {
    const element = this.#elements.get(track);
    if (element === undefined) return;
    track.detach(element);
    element.remove();
    this.#elements.delete(track);
    if (track.sid !== undefined) this.#meter.remove(track.sid);
    this.#report({ type: "hearing", tracks: this.#elements.size });
  };

  /** Starts playback from a press of the visitor, which is what browsers wait for. */
  async start(): Promise<void> {
    this.#meter.resume();
    await this.#room.startAudio().catch(ignore);
  }

  silence(silenced: boolean): void {
    this.#silenced = silenced;
    for (const element of this.#elements.values()) this.#silence(element);
    this.#report({ type: "silenced", silenced });
  }

  async choose(speaker: string): Promise<void> {
    this.#speaker = speaker;
    try {
      await this.refresh();
    } catch {
      this.#report({ type: "problem", problem: speakerProblem });
    }
  }

  /** Plays on the chosen speaker, which browsers may allow only once the microphone is. */
  async refresh(): Promise<void> {
    await Promise.all([...this.#elements.values()].map((element) => this.#play(element)));
  }

  level(): number {
    return this.#meter.read();
  }

  close(): void {
    for (const track of [...this.#elements.keys()]) this.#remove(track);
    this.#meter.close();
  }

  #silence(element: HTMLMediaElement): void {
    element.muted = this.#silenced;
  }

  async #play(element: HTMLMediaElement): Promise<void> {
    if (canChooseSpeaker()) await element.setSinkId(this.#speaker);
  }
}

function ignore(): void {
  // The sound then comes from where the system plays sound.
}
