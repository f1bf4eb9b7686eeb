import { expect, it } from "vitest";
import { agentNameOf, choiceOf, firstChoice, keyOf } from "./choice.ts";

it("starts with an agent that is ready, then any named one, then automatic dispatch", () => {
  const starting = { name: "a", state: "starting", detail: "" } as const;
  const ready = { name: "b", state: "ready", detail: "" } as const;
  const unnamed = { name: "", state: "ready", detail: "" } as const;
  expect(firstChoice([starting, ready, unnamed])).toEqual({ kind: "agent", name: "b" });
  expect(firstChoice([starting, unnamed])).toEqual({ kind: "agent", name: "a" });
  expect(firstChoice([unnamed])).toEqual({ kind: "auto" });
});

it("keeps agents apart from the other ways to choose, whatever they are called", () => {
  for (const choice of [
    { kind: "agent", name: "auto" },
    { kind: "agent", name: "agent:x" },
    { kind: "auto" },
    { kind: "other" },
  ] as const) {
    expect(choiceOf(keyOf(choice))).toEqual(choice);
  }
});

it("asks for nothing while the name of another agent is missing", () => {
  expect(agentNameOf({ kind: "other" }, "  ")).toBeUndefined();
  expect(agentNameOf({ kind: "other" }, " front-desk ")).toBe("front-desk");
  expect(agentNameOf({ kind: "auto" }, "front-desk")).toBeNull();
});
