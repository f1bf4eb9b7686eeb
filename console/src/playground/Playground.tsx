import { useEffect, useState, useSyncExternalStore } from "react";
import { isInCall } from "../call/call.ts";
import { CallController } from "../call/controller.ts";
import { CallPanel } from "./CallPanel.tsx";
import { Conversation } from "./Conversation.tsx";
import { Introduction } from "./Introduction.tsx";
import styles from "./Playground.module.css";
import { SetupForm } from "./SetupForm.tsx";
import { useAgents } from "./useAgents.ts";

/** Calls an agent and talks to it, by typing or aloud. */
export function Playground() {
  const [controller] = useState(() => new CallController());
  const call = useSyncExternalStore(controller.subscribe, controller.snapshot);
  const agents = useAgents();
  const [sideOpen, setSideOpen] = useState(false);
  const inCall = isInCall(call);
  const idle = call.connection.at === "idle";

  useEffect(() => {
    controller.prepare();
  }, [controller]);

  useEffect(() => {
    document.title = inCall ? "In a call · Greenroom" : "Playground · Greenroom";
  }, [inCall]);

  return (
    <div className={styles["playground"]} data-side={idle || sideOpen ? "open" : "closed"} data-idle={idle}>
      <aside className={styles["side"]} aria-label={inCall ? "This call" : "New call"} id="side">
        {inCall ? null : (
          <SetupForm
            agents={agents}
            onCall={(request) => {
              setSideOpen(false);
              controller.start(request);
            }}
          />
        )}
        {idle ? null : <CallPanel call={call} />}
      </aside>
      <section className={styles["stage"]} aria-label="Conversation">
        {idle ? (
          <Introduction />
        ) : (
          <Conversation
            call={call}
            controller={controller}
            agents={agents.known}
            sideOpen={sideOpen}
            onToggleSide={() => {
              setSideOpen(!sideOpen);
            }}
          />
        )}
      </section>
    </div>
  );
}
