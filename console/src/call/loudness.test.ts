import { expect, it } from "vitest";
import { loudnessOf } from "./loudness.ts";

function sine(peak: number): Float32Array {
  return Float32Array.from({ length: 960 }, (_, index) => peak * Math.sin((2 * Math.PI * index) / 96));
}

it("is 0 for silence and for what is too quiet to show, and 1 for the loudest sine wave", () => {
  expect(loudnessOf(sine(0))).toBe(0);
  expect(loudnessOf(sine(0.0005))).toBe(0);
  expect(loudnessOf(sine(1))).toBeCloseTo(1);
  expect(loudnessOf(new Float32Array())).toBe(0);
});

it("goes by decibels: 30 below the loudest is the middle", () => {
  expect(loudnessOf(sine(10 ** (-30 / 20)))).toBeCloseTo(0.5);
});
