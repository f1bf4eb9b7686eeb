/** What agents broadcast about their session on the byte-stream topic `lk.agent.session`. */
import {
  type AgentSessionEvent_ConversationItemAdded,
  type AgentSessionEvent_FunctionToolsExecuted,
  type AgentSessionEvent_SessionUsageUpdated,
  type AgentSessionEvent_ToolExecutionUpdated,
  AgentSessionMessage,
  ChatRole,
  type ModelUsage,
  ToolCallStatus,
} from "livekit-agent-session";
import type { StandIn } from "./standIns.ts";
import type { ToolOutcome, ToolReport } from "./transcript.ts";

export interface AgentMessage {
  readonly tools: readonly ToolReport[];
  readonly fault: string | null;
  /** Of words that were cut short: those that were said. */
  readonly interrupted: string | null;
  /** The parts of the agent that have been used so far and stand in for a service. */
  readonly standIns: readonly StandIn[];
}

const nothing: AgentMessage = { tools: [], fault: null, interrupted: null, standIns: [] };

/** Reads one message. What this page does not show, or cannot read, is nothing. */
export function readAgentMessage(bytes: Uint8Array): AgentMessage {
  let message: AgentSessionMessage;
  try {
    message = AgentSessionMessage.fromBinary(bytes);
  } catch {
    return nothing;
  }
  if (message.message.case !== "event") return nothing;
  const { event } = message.message.value;
  switch (event.case) {
    case "toolExecutionUpdated":
      return { ...nothing, tools: toolUpdate(event.value) };
    case "functionToolsStarted":
      return {
        ...nothing,
        tools: event.value.functionCalls.map((call) => ({
          id: call.callId,
          name: call.name,
          args: call.arguments,
          outcome: "running",
        })),
      };
    case "functionToolsExecuted":
      return { ...nothing, tools: executed(event.value) };
    case "conversationItemAdded":
      return { ...nothing, interrupted: interruptedWords(event.value) };
    case "sessionUsageUpdated":
      return { ...nothing, standIns: usedStandIns(event.value) };
    case "error":
      return { ...nothing, fault: event.value.message };
    default:
      return nothing;
  }
}

function interruptedWords({ item }: AgentSessionEvent_ConversationItemAdded): string | null {
  if (item?.item.case !== "message") return null;
  const { role, interrupted, content } = item.item.value;
  if (role !== ChatRole.ASSISTANT || !interrupted) return null;
  return content.map(({ payload }) => payload.value ?? "").join("");
}

function usedStandIns({ usage }: AgentSessionEvent_SessionUsageUpdated): StandIn[] {
  return (usage?.modelUsage ?? []).flatMap((used) => standInOf(used) ?? []);
}

/** How `greenroom.offline` calls itself and its models. */
function standInOf({ usage }: ModelUsage): StandIn | null {
  if (usage.value?.provider !== "greenroom") return null;
  const { model } = usage.value;
  if (usage.case === "stt" && model.startsWith("pocketsphinx-")) return "ear";
  if (usage.case === "llm" && model === "offline-patterns") return "mind";
  if (usage.case === "tts" && model.startsWith("flite-")) return "voice";
  return null;
}

function executed(event: AgentSessionEvent_FunctionToolsExecuted): ToolReport[] {
  const outputs = new Map(event.functionCallOutputs.map((output) => [output.callId, output]));
  return event.functionCalls.map((call) => {
    const output = outputs.get(call.callId);
    const report = { id: call.callId, name: call.name, args: call.arguments };
    if (output === undefined) return { ...report, outcome: "done" };
    return { ...report, outcome: output.isError ? "error" : "done", output: output.output };
  });
}

function toolUpdate({ update }: AgentSessionEvent_ToolExecutionUpdated): ToolReport[] {
  switch (update.case) {
    case "started": {
      const call = update.value.functionCall;
      if (call === undefined) return [];
      return [{ id: call.callId, name: call.name, args: call.arguments, outcome: "running" }];
    }
    case "callUpdated":
      return [{ id: update.value.callId, progress: update.value.message }];
    case "ended": {
      const { callId, status, message } = update.value;
      return [{ id: callId, outcome: outcomes[status], ...(message === undefined ? {} : { output: message }) }];
    }
    default:
      return [];
  }
}

const outcomes: Record<ToolCallStatus, ToolOutcome> = {
  [ToolCallStatus.TC_RUNNING]: "running",
  [ToolCallStatus.TC_DONE]: "done",
  [ToolCallStatus.TC_ERROR]: "error",
  [ToolCallStatus.TC_CANCELLED]: "cancelled",
};
