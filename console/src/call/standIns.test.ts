import { describe, expect, it } from "vitest";
import { standInLine, withStandIns } from "./standIns.ts";

describe("the line about stand-ins", () => {
  it("lists those that are used, in the order of a turn, and where to read on", () => {
    expect(standInLine(["ear", "mind", "voice"])).toEqual({
      text:
        "This agent uses stand-ins: PocketSphinx listens, patterns answer, flite speaks. " +
        "For trying things out; not what a caller should hear.",
      page: "docs/speech.md",
    });
    expect(standInLine(["voice"])?.text).toContain("uses a stand-in: flite speaks.");
  });

  it("points to the page about the language model when that is all", () => {
    expect(standInLine(["mind"])).toMatchObject({ page: "docs/offline.md" });
    expect(standInLine(["mind"])?.text).toContain("uses a stand-in: patterns answer.");
  });

  it("is not there for an agent without", () => {
    expect(standInLine([])).toBeNull();
  });
});

describe("stand-ins that come into use one by one", () => {
  it("are kept once each, in the order of a turn", () => {
    const mind = withStandIns([], ["mind"]);
    expect(withStandIns(mind, ["mind", "voice", "ear"])).toEqual(["ear", "mind", "voice"]);
    expect(withStandIns(["mind", "voice"], ["voice"])).toEqual(["mind", "voice"]);
  });

  it("change nothing when they are known", () => {
    const known = withStandIns([], ["mind", "voice"]);
    expect(withStandIns(known, ["mind"])).toBe(known);
    expect(withStandIns(known, [])).toBe(known);
  });
});
