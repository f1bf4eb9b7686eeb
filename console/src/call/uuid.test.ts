import { expect, it } from "vitest";
import { randomUUID } from "./uuid.ts";

it("writes a random UUID of version 4", () => {
  const some = Array.from({ length: 64 }, randomUUID);
  for (const uuid of some) expect(uuid).toMatch(/^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/);
  expect(new Set(some).size).toBe(64);
});
