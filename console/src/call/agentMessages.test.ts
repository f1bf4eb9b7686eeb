import {
  AgentSessionEvent,
  type AgentSessionEvent as Event,
  AgentSessionMessage,
  ChatMessage,
  ChatRole,
  FunctionCall,
  FunctionCallOutput,
  ToolCallStatus,
} from "livekit-agent-session";
import { describe, expect, it } from "vitest";
import { readAgentMessage } from "./agentMessages.ts";

function encoded(event: Event["event"]): Uint8Array {
  const message = new AgentSessionMessage({ message: { case: "event", value: new AgentSessionEvent({ event }) } });
  return message.toBinary();
}

const call = new FunctionCall({ callId: "c1", name: "lookup", arguments: '{"day":"Monday"}' });

describe("a message about the agent's session", () => {
  it("tells that a tool call started, went on and ended", () => {
    const update = (value: object) =>
      readAgentMessage(encoded({ case: "toolExecutionUpdated", value: { update: value } as never })).tools;
    expect(update({ case: "started", value: { functionCall: call } })).toEqual([
      { id: "c1", name: "lookup", args: '{"day":"Monday"}', outcome: "running" },
    ]);
    expect(update({ case: "callUpdated", value: { callId: "c1", message: "half way" } })).toEqual([
      { id: "c1", progress: "half way" },
    ]);
    const status = ToolCallStatus.TC_CANCELLED;
    expect(update({ case: "ended", value: { callId: "c1", status } })).toEqual([{ id: "c1", outcome: "cancelled" }]);
  });

  it("tells the outputs of executed calls, matched by call id", () => {
    const other = new FunctionCall({ callId: "c2", name: "book", arguments: "{}" });
    const { tools } = readAgentMessage(
      encoded({
        case: "functionToolsExecuted",
        value: {
          functionCalls: [call, other],
          functionCallOutputs: [
            new FunctionCallOutput({ callId: "c2", output: "full", isError: true }),
            new FunctionCallOutput({ callId: "c1", output: "free" }),
          ],
        } as never,
      }),
    );
    expect(tools).toMatchObject([
      { id: "c1", outcome: "done", output: "free" },
      { id: "c2", outcome: "error", output: "full" },
    ]);
  });

  it("tells what went wrong in the agent", () => {
    const message = readAgentMessage(encoded({ case: "error", value: { message: "no model" } as never }));
    expect(message).toEqual({ tools: [], fault: "no model", interrupted: null, standIns: [] });
  });

  it("tells which words were said of those that were cut short", () => {
    const item = (message: object) =>
      encoded({
        case: "conversationItemAdded",
        value: { item: { item: { case: "message", value: new ChatMessage(message) } } } as never,
      });
    const content = [{ payload: { case: "text", value: "We open" } }];
    const said = { role: ChatRole.ASSISTANT, content };
    expect(readAgentMessage(item({ ...said, interrupted: true })).interrupted).toBe("We open");
    expect(readAgentMessage(item(said)).interrupted).toBeNull();
    expect(readAgentMessage(item({ role: ChatRole.USER, content, interrupted: true })).interrupted).toBeNull();
  });

  it("is nothing when it is about something else or unreadable", () => {
    const nothing = { tools: [], fault: null, interrupted: null, standIns: [] };
    expect(readAgentMessage(encoded({ case: "agentStateChanged", value: {} as never }))).toEqual(nothing);
    expect(readAgentMessage(new Uint8Array([255, 255, 255]))).toEqual(nothing);
    expect(readAgentMessage(new Uint8Array())).toEqual(nothing);
  });
});

describe("a message about usage", () => {
  it("tells which models that were used are stand-ins of Greenroom's", () => {
    const used = (...modelUsage: object[]) =>
      readAgentMessage(encoded({ case: "sessionUsageUpdated", value: { usage: { modelUsage } } as never })).standIns;
    const usage = (name: string, model: string, provider = "greenroom") => ({
      usage: { case: name, value: { provider, model } },
    });
    expect(used(usage("llm", "offline-patterns"))).toEqual(["mind"]);
    expect(used(usage("stt", "pocketsphinx-en-us"), usage("tts", "flite-slt"))).toEqual(["ear", "voice"]);
    expect(used(usage("llm", "gpt-4.1-mini", "openai"), usage("tts", "flite-rms"))).toEqual(["voice"]);
    expect(used(usage("llm", "offline-patterns", "somebody"), usage("stt", "whisper"), usage("eot", "flite-"))).toEqual(
      [],
    );
    expect(used({})).toEqual([]);
  });
});
