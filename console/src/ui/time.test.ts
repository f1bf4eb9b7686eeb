import { expect, it } from "vitest";
import { clock, span } from "./time.ts";

it("writes a duration as a clock, with hours only when there are any", () => {
  expect([0, 7_400, 247_000, 3_847_000].map(clock)).toEqual(["0:00", "0:07", "4:07", "1:04:07"]);
});

it("writes a short span in the unit that reads best", () => {
  expect([12.4, 99, 100, 1234].map(span)).toEqual(["12 ms", "99 ms", "0.10 s", "1.23 s"]);
});
