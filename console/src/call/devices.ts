/** Microphones and speakers to choose from, and which was chosen last. */

export type DeviceKind = "microphone" | "speaker";

/** An empty id is whatever the system uses. */
export interface Device {
  readonly id: string;
  readonly label: string;
}

/** What a browser lists of a device. */
export type ListedDevice = Pick<MediaDeviceInfo, "deviceId" | "kind" | "label">;

const browserKind = { microphone: "audioinput", speaker: "audiooutput" } as const;
// Chromium lists these beside the devices that they stand for.
const aliases = new Set(["default", "communications"]);

/**
 * The devices of one kind, the system's own choice first. Before the microphone is allowed browsers list
 * devices without ids and names; those cannot be chosen.
 */
export function devicesOf(kind: DeviceKind, listed: readonly ListedDevice[]): readonly Device[] {
  const real = listed.filter(
    (device) => device.kind === browserKind[kind] && device.deviceId !== "" && !aliases.has(device.deviceId),
  );
  const named = real.map(({ deviceId: id, label }, index) => ({ id, label: label || `Unnamed ${kind} ${index + 1}` }));
  return [{ id: "", label: "System default" }, ...named];
}

/** Whether the browser keeps the devices of a kind to itself until the microphone is allowed. */
export function areHidden(kind: DeviceKind, listed: readonly ListedDevice[]): boolean {
  return listed.some((device) => device.kind === browserKind[kind] && device.deviceId === "");
}

/** Whether this browser plays sound on another speaker than the system's. */
export function canChooseSpeaker(): boolean {
  return "setSinkId" in HTMLMediaElement.prototype;
}

/** What was chosen in this tab, for where nothing can be stored. */
const chosen = new Map<DeviceKind, string>();

function keyOf(kind: DeviceKind): string {
  return `greenroom.${kind}`;
}

/** The id of the device that was chosen last; empty for the system's choice. */
export function chosenDevice(kind: DeviceKind): string {
  try {
    return chosen.get(kind) ?? localStorage.getItem(keyOf(kind)) ?? "";
  } catch {
    return "";
  }
}

export function rememberDevice(kind: DeviceKind, id: string): void {
  chosen.set(kind, id);
  try {
    localStorage.setItem(keyOf(kind), id);
  } catch {
    // Where the browser stores nothing, the choice lasts as long as the page.
  }
}
