import { useEffect, useRef } from "react";
import type { Notice, NoticeAction } from "../call/notices.ts";
import { Button } from "../ui/Button.tsx";
import { Copyable } from "../ui/Copyable.tsx";
import { clock } from "../ui/time.ts";
import styles from "./NoticeBar.module.css";

interface NoticeBarProps {
  notice: Notice;
  now: number;
  /** The call is over, and with it what had the focus. */
  ended: boolean;
  act: Record<NoticeAction, () => void>;
}

export function NoticeBar({ notice, now, ended, act }: NoticeBarProps) {
  const bar = useRef<HTMLDivElement>(null);
  useEffect(() => {
    // The bar, not its button: whoever was typing when the call ended must not start another with Enter.
    if (ended) bar.current?.focus();
  }, [ended]);
  return (
    <div ref={bar} className={`${styles["notice"]} ${styles[notice.tone]}`} tabIndex={-1}>
      <div role={notice.tone === "problem" ? "alert" : "status"} className={styles["words"]}>
        <p className={styles["title"]}>
          {notice.title}
          {notice.since === null ? null : (
            <span className={styles["since"]} aria-hidden="true">
              {clock(now - notice.since)}
            </span>
          )}
        </p>
        {notice.detail === "" ? null : <p className={styles["detail"]}>{notice.detail}</p>}
      </div>
      {notice.commands.map((command) => (
        <Copyable key={command} block text={command} name="command" />
      ))}
      {notice.actions.length === 0 ? null : (
        <div className={styles["actions"]}>
          {notice.actions.map((action, index) => (
            <Button key={action} look={index === 0 ? "primary" : "plain"} onPress={act[action]}>
              {actionWord[action]}
            </Button>
          ))}
        </div>
      )}
    </div>
  );
}

const actionWord: Record<NoticeAction, string> = {
  again: "Call again",
  rejoin: "Rejoin",
  microphone: "Try again",
  sound: "Enable sound",
  dismiss: "Dismiss",
};
