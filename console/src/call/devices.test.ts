import { expect, it } from "vitest";
import { areHidden, chosenDevice, devicesOf, type ListedDevice, rememberDevice } from "./devices.ts";

function listed(kind: ListedDevice["kind"], deviceId: string, label = ""): ListedDevice {
  return { kind, deviceId, label };
}

it("offers the system's choice first, and each device once", () => {
  const all = [
    listed("audioinput", "default", "Default - Desk"),
    listed("audioinput", "communications", "Communications - Desk"),
    listed("audioinput", "a", "Desk"),
    listed("audioinput", "b"),
    listed("audiooutput", "c", "Headphones"),
    listed("videoinput", "d", "Camera"),
  ];
  expect(devicesOf("microphone", all)).toEqual([
    { id: "", label: "System default" },
    { id: "a", label: "Desk" },
    { id: "b", label: "Unnamed microphone 2" },
  ]);
  expect(devicesOf("speaker", all).map(({ label }) => label)).toEqual(["System default", "Headphones"]);
});

it("says when the browser keeps its devices to itself", () => {
  const hidden = [listed("audioinput", "")];
  expect(areHidden("microphone", hidden)).toBe(true);
  expect(areHidden("speaker", hidden)).toBe(false);
  expect(devicesOf("microphone", hidden)).toHaveLength(1);
});

it("remembers a choice as long as the page lasts where nothing can be stored", () => {
  expect(chosenDevice("microphone")).toBe("");
  rememberDevice("microphone", "a");
  expect(chosenDevice("microphone")).toBe("a");
  expect(chosenDevice("speaker")).toBe("");
});
