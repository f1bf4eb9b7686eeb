/** Which agent the caller picked. */
import type { ListedAgent } from "../api/api.ts";

/** `auto`: whichever unnamed agent the server dispatches. `other`: one that is not listed, by name. */
export type Choice =
  { readonly kind: "agent"; readonly name: string } | { readonly kind: "auto" } | { readonly kind: "other" };

export function keyOf(choice: Choice): string {
  return choice.kind === "agent" ? `agent:${choice.name}` : choice.kind;
}

export function choiceOf(key: string): Choice {
  if (key.startsWith("agent:")) return { kind: "agent", name: key.slice("agent:".length) };
  return { kind: key === "other" ? "other" : "auto" };
}

/** What is picked until the caller picks: the first named agent, ready ones first; else automatic dispatch. */
export function firstChoice(agents: readonly ListedAgent[]): Choice {
  const named = agents.filter((agent) => agent.name !== "");
  const agent = named.find(({ state }) => state === "ready") ?? named[0];
  return agent === undefined ? { kind: "auto" } : { kind: "agent", name: agent.name };
}

/** What to ask the server for; `undefined` while a name is missing. */
export function agentNameOf(choice: Choice, otherName: string): string | null | undefined {
  switch (choice.kind) {
    case "agent":
      return choice.name;
    case "auto":
      return null;
    case "other":
      return otherName.trim() || undefined;
  }
}
