import { describe, expect, it } from "vitest";
import {
  advance,
  agentOf,
  type Call,
  type CallEvent,
  durationOf,
  hearableFrom,
  isInCall,
  noCall,
  type PersonReport,
  settling,
  silentAgentGrace,
  standInsOf,
} from "./call.ts";
import { endOf, endOfJoin } from "./endings.ts";

const request = { agentName: "front-desk", name: "Ada", room: "", agentMetadata: "" };
const room = { url: "ws://127.0.0.1:7880", name: "playground-1", sid: "" };
const joined: CallEvent[] = [
  { type: "asked", request },
  { type: "admitted", room, me: { identity: "visitor-1", name: "Ada", role: "visitor" } },
  { type: "connected" },
];

/** Applies events one millisecond apart, starting at 1000; a call is live from 1002 on. */
function after(...events: CallEvent[]): Call {
  return events.reduce((call, event, index) => advance(call, event, 1000 + index), noCall);
}

function agent(state: PersonReport["state"], identity = "agent-1"): CallEvent {
  return { type: "present", person: { identity, name: "front-desk", role: "agent", state } };
}

const ended: CallEvent = { type: "ended", end: endOf("CLIENT_INITIATED") };

describe("a connection", () => {
  it("is joining, live, interrupted, live again and ended, and keeps since when it was live", () => {
    expect(after(...joined.slice(0, 1)).connection).toEqual({ at: "joining", since: 1000 });
    expect(after(...joined).connection).toEqual({ at: "live", since: 1002 });
    const lost = after(...joined, { type: "interrupted" });
    expect(lost.connection).toEqual({ at: "reconnecting", since: 1002, lostAt: 1003 });
    expect(advance(lost, { type: "resumed" }, 2000).connection).toEqual({ at: "live", since: 1002 });
    expect(advance(lost, ended, 3000).connection).toMatchObject({ at: "ended", since: 1002, endedAt: 3000 });
  });

  it("ends once: the first reason stays", () => {
    const call = after(...joined, { type: "ended", end: endOf("ROOM_DELETED") }, ended);
    expect(call.connection).toMatchObject({ end: { title: "The call was ended" } });
    expect(isInCall(call)).toBe(false);
  });

  it("lasts from when it was live until it ended", () => {
    expect(durationOf(after(...joined.slice(0, 2)), 5000)).toBeNull();
    expect(durationOf(after(...joined), 5002)).toBe(4000);
    expect(durationOf(after(...joined, ended), 99_999)).toBe(1);
  });

  it("starts over with the next call", () => {
    const call = after(...joined, agent("listening"), ended, { type: "asked", request });
    expect(call).toMatchObject({ others: [], room: null, transcript: { entries: [] } });
  });

  it("learns the room's sid when the server says it", () => {
    expect(after(...joined, { type: "identified", sid: "RM_1" }).room).toEqual({ ...room, sid: "RM_1" });
  });
});

describe("the agent", () => {
  it("is the first one that came, with its state now and before", () => {
    const call = after(
      ...joined,
      agent("initializing"),
      agent("listening"),
      agent("listening"),
      agent("idle", "agent-2"),
    );
    expect(agentOf(call)).toMatchObject({
      identity: "agent-1",
      state: "listening",
      joinedAt: 1003,
      history: [
        { state: "initializing", at: 1003 },
        { state: "listening", at: 1004 },
      ],
    });
  });

  it("is remembered when it leaves, until one comes back", () => {
    const gone = after(...joined, agent("listening"), { type: "gone", identity: "agent-1" });
    expect(agentOf(gone)).toBeNull();
    expect(gone.departed).toEqual({ identity: "agent-1", name: "front-desk", at: 1004 });
    expect(advance(gone, agent(null, "agent-2"), 2000).departed).toBeNull();
  });

  it("has not left while another one is there", () => {
    const call = after(...joined, agent("listening"), agent("idle", "agent-2"), { type: "gone", identity: "agent-1" });
    expect(call.departed).toBeNull();
    expect(agentOf(call)).toMatchObject({ identity: "agent-2" });
  });

  it("has the stand-ins that it told of, before it was seen and after it left, until another one is there", () => {
    const told: CallEvent = { type: "stand-ins", identity: "agent-1", parts: ["mind"] };
    expect(standInsOf(after(...joined, told))).toEqual([]);
    const call = after(...joined, told, agent("listening"));
    expect(standInsOf(call)).toEqual(["mind"]);
    expect(advance(call, told, 2000)).toBe(call);
    const more = advance(call, { ...told, parts: ["mind", "voice"] }, 2000);
    expect(standInsOf(more)).toEqual(["mind", "voice"]);
    const gone = advance(more, { type: "gone", identity: "agent-1" }, 3000);
    expect(standInsOf(gone)).toEqual(["mind", "voice"]);
    expect(standInsOf(advance(gone, agent("listening", "agent-2"), 4000))).toEqual([]);
    expect(standInsOf(advance(gone, { type: "asked", request }, 4000))).toEqual([]);
  });
});

describe("a message can be sent", () => {
  /** An agent that came at 1003, and its states since. */
  function withAgent(...changes: [PersonReport["state"], number][]): Call {
    return changes.reduce((call, [state, at]) => advance(call, agent(state), at), after(...joined));
  }

  it("not before an agent is there and its session runs", () => {
    expect(hearableFrom(after(...joined), 1002)).toBeNull();
    expect(hearableFrom(withAgent(["initializing", 1003]), 1002)).toBeNull();
  });

  it("at once while the agent can hear, even into its words", () => {
    const call = withAgent(["initializing", 1003], ["listening", 1500], ["speaking", 1600]);
    expect(hearableFrom(call, 1700)).toBe(1500);
  });

  it("only after the greeting when it was typed before the agent could hear", () => {
    const greeting = withAgent(["initializing", 1003], ["listening", 1500], ["thinking", 1510], ["speaking", 1600]);
    expect(hearableFrom(greeting, 1400)).toBeNull();
    expect(hearableFrom(advance(greeting, agent("listening"), 4000), 1400)).toBe(4000 + settling);
    expect(hearableFrom(withAgent(["listening", 1500]), 1400)).toBe(1500 + settling);
  });

  it("after a moment to an agent that says no state", () => {
    expect(hearableFrom(withAgent([null, 1003]), 1002)).toBe(1003 + silentAgentGrace);
  });

  it("not while the connection is interrupted", () => {
    expect(hearableFrom(advance(withAgent(["listening", 1003]), { type: "interrupted" }, 2000), 1900)).toBeNull();
  });
});

describe("an ending", () => {
  it("has words of its own for what LiveKit names, and takes the rest as a server that is gone", () => {
    expect(endOf("DUPLICATE_IDENTITY").title).toBe("Somebody else joined as you");
    expect(endOf(undefined)).toBe(endOf("SIGNAL_CLOSE"));
    expect(endOf("toString")).toBe(endOf("SIGNAL_CLOSE"));
  });

  it("says where a server was looked for, and what a server that refused said", () => {
    expect(endOfJoin("unreachable", "Failed to fetch", room.url).detail).toContain("ws://127.0.0.1:7880");
    expect(endOfJoin("refused", "no room name", room.url).detail).toBe("no room name.");
  });
});
