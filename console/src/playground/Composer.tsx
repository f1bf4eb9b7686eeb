import { type KeyboardEvent, useEffect, useRef, useState } from "react";
import { type Call, isInCall } from "../call/call.ts";
import { Button } from "../ui/Button.tsx";
import styles from "./Composer.module.css";

/** Where the visitor types. It takes text from the moment of joining; what nobody can hear yet waits. */
export function Composer({ call, onSend }: { call: Call; onSend: (text: string) => void }) {
  const [draft, setDraft] = useState("");
  const input = useRef<HTMLTextAreaElement>(null);
  const open = isInCall(call) && call.me !== null;

  useEffect(() => {
    if (open) input.current?.focus();
  }, [open]);

  const send = () => {
    if (!open || draft.trim() === "") return;
    onSend(draft);
    setDraft("");
    input.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    // Enter also ends a composition of an input method; that one is not ours.
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    send();
  };
  return (
    <form
      className={styles["composer"]}
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <textarea
        ref={input}
        className={styles["input"]}
        rows={1}
        value={draft}
        disabled={!open}
        aria-label="Message"
        aria-describedby="composer-hint"
        placeholder={open ? "Type a message" : "The call is over"}
        onChange={(event) => {
          setDraft(event.target.value);
        }}
        onKeyDown={onKeyDown}
      />
      <Button type="submit" look="primary" isDisabled={!open || draft.trim() === ""}>
        Send
      </Button>
      <p id="composer-hint" className={styles["hint"]}>
        {hintOf(call, open)}
      </p>
    </form>
  );
}

function hintOf(call: Call, open: boolean): string {
  const waits = call.transcript.entries.some((entry) => entry.kind === "utterance" && entry.phase === "waiting");
  if (open && waits) return "Sent as soon as the agent can hear it";
  return "Enter sends, Shift+Enter starts a new line";
}
