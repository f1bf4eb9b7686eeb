import { useRef } from "react";
import type { ListedAgent } from "../api/api.ts";
import { agentOf, type Call, durationOf, isInCall, isStale } from "../call/call.ts";
import type { CallController } from "../call/controller.ts";
import { noticeOf, voiceNoticeOf } from "../call/notices.ts";
import { Button } from "../ui/Button.tsx";
import { StateMark } from "../ui/StateMark.tsx";
import { clock, useNow } from "../ui/time.ts";
import { Composer } from "./Composer.tsx";
import styles from "./Conversation.module.css";
import { NoticeBar } from "./NoticeBar.tsx";
import { StandInNote } from "./StandInNote.tsx";
import { TranscriptView } from "./TranscriptView.tsx";
import { VoiceBar } from "./VoiceBar.tsx";

interface ConversationProps {
  call: Call;
  controller: CallController;
  agents: readonly ListedAgent[] | undefined;
  sideOpen: boolean;
  onToggleSide: () => void;
}

export function Conversation({ call, controller, agents, sideOpen, onToggleSide }: ConversationProps) {
  const inCall = isInCall(call);
  const now = useNow(500, inCall);
  const notice = noticeOf(call, agents, now);
  const voiceNotice = voiceNoticeOf(call, now);
  const voiceBar = useRef<HTMLDivElement>(null);
  // The notice goes, and with it the button that was pressed; the focus stays near.
  const focusVoice = () => voiceBar.current?.querySelector("button")?.focus();
  const act = {
    again: () => {
      if (call.request !== null) controller.start(call.request);
    },
    rejoin: controller.rejoin,
    microphone: () => {
      focusVoice();
      controller.toggleMicrophone();
    },
    sound: () => {
      focusVoice();
      controller.startSound();
    },
    dismiss: () => {
      focusVoice();
      controller.dismiss();
    },
  };
  return (
    <div className={styles["conversation"]}>
      <header className={styles["bar"]}>
        <Callee call={call} />
        <time className={styles["duration"]} aria-label="Duration">
          {clock(durationOf(call, now) ?? 0)}
        </time>
        <span className={styles["toggle"]}>
          <Button look="quiet" aria-expanded={sideOpen} aria-controls="side" onPress={onToggleSide}>
            {toggleWord(sideOpen, inCall)}
          </Button>
        </span>
        {inCall ? (
          <Button look="danger" onPress={controller.leave}>
            Leave
          </Button>
        ) : null}
      </header>
      <StandInNote call={call} />
      <TranscriptView call={call} />
      <footer className={styles["foot"]}>
        {notice === null ? null : <NoticeBar notice={notice} now={now} ended={!inCall} act={act} />}
        {voiceNotice === null ? null : <NoticeBar notice={voiceNotice} now={now} ended={false} act={act} />}
        {inCall ? <VoiceBar ref={voiceBar} call={call} controller={controller} /> : null}
        <Composer call={call} onSend={controller.type} />
      </footer>
    </div>
  );
}

function calleeWord(call: Call): string {
  if (!isInCall(call)) return "call over";
  const agent = agentOf(call);
  if (agent !== null) return `${agent.state ?? "here"}${isStale(call) ? " when last seen" : ""}`;
  return call.departed === null ? "not here yet" : "left";
}

function toggleWord(sideOpen: boolean, inCall: boolean): string {
  if (sideOpen) return "Conversation";
  return inCall ? "Details" : "New call";
}

function Callee({ call }: { call: Call }) {
  const agent = agentOf(call);
  const name = agent?.name ?? call.departed?.name ?? call.request?.agentName ?? "Any agent";
  const inCall = isInCall(call);
  return (
    <div className={styles["callee"]}>
      <h2>{name}</h2>
      <p className={styles["state"]}>
        <StateMark state={agent === null || !inCall ? "absent" : (agent.state ?? "unknown")} />
        {calleeWord(call)}
      </p>
    </div>
  );
}
