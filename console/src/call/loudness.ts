/** How loud sound is, for meters. */

/** Sounds below this many decibels under full scale do not move a meter. */
const floor = -60;

/** The loudness of samples between -1 and 1, from 0 for silence to 1 for the loudest sine wave there is. */
export function loudnessOf(samples: Float32Array): number {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  const decibels = 10 * Math.log10((2 * sum) / Math.max(1, samples.length));
  return Math.min(1, Math.max(0, 1 - decibels / floor));
}

/** Measures the sum of the tracks that are put into it. */
export class LevelMeter {
  #context: AudioContext | null = null;
  #analyser: AnalyserNode | null = null;
  readonly #sources = new Map<string, MediaStreamAudioSourceNode>();
  #samples = new Float32Array(1024);

  /** Measures `track` under `key`, instead of what was measured under it before. */
  put(key: string, track: MediaStreamTrack): void {
    this.remove(key);
    this.#context ??= new AudioContext();
    this.#analyser ??= new AnalyserNode(this.#context, { fftSize: this.#samples.length });
    const source = this.#context.createMediaStreamSource(new MediaStream([track]));
    source.connect(this.#analyser);
    this.#sources.set(key, source);
    this.resume();
  }

  remove(key: string): void {
    this.#sources.get(key)?.disconnect();
    this.#sources.delete(key);
  }

  /** A browser may want a gesture before it lets sound be measured, too. */
  resume(): void {
    void this.#context?.resume();
  }

  read(): number {
    if (this.#analyser === null || this.#sources.size === 0) return 0;
    this.#analyser.getFloatTimeDomainData(this.#samples);
    return loudnessOf(this.#samples);
  }

  close(): void {
    for (const key of this.#sources.keys()) this.remove(key);
    void this.#context?.close();
    this.#context = this.#analyser = null;
  }
}
