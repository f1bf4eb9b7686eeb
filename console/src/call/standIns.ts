/** What of an agent is one of Greenroom's stand-ins for speech and language services, and how the page says so. */

/** Which part stands in: what listens, what answers or what speaks. */
export type StandIn = "ear" | "mind" | "voice";

/** In the order of a turn. */
const turn: readonly StandIn[] = ["ear", "mind", "voice"];

const does: Record<StandIn, string> = {
  ear: "PocketSphinx listens",
  mind: "patterns answer",
  voice: "flite speaks",
};

/** Returns `known` with `more`; the same object when there is nothing new. */
export function withStandIns(known: readonly StandIn[], more: readonly StandIn[]): readonly StandIn[] {
  if (more.every((part) => known.includes(part))) return known;
  return turn.filter((part) => known.includes(part) || more.includes(part));
}

/** The line about them, and the page of the documentation that tells more; `null` without any. */
export function standInLine(parts: readonly StandIn[]): { readonly text: string; readonly page: string } | null {
  if (parts.length === 0) return null;
  const uses = parts.length === 1 ? "a stand-in" : "stand-ins";
  const text = `This agent uses ${uses}: ${parts.map((part) => does[part]).join(", ")}.`;
  const page = parts.every((part) => part === "mind") ? "docs/offline.md" : "docs/speech.md";
  return { text: `${text} For trying things out; not what a caller should hear.`, page };
}
