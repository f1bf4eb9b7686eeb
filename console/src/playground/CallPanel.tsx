import type { ReactNode } from "react";
import { agentOf, type Call, durationOf, isInCall, isStale, type Person } from "../call/call.ts";
import { Copyable } from "../ui/Copyable.tsx";
import { StateMark } from "../ui/StateMark.tsx";
import { clock, dayTime, useNow } from "../ui/time.ts";
import styles from "./CallPanel.module.css";
import { Ribbon, Swatch } from "./Ribbon.tsx";

/** The facts of a call: the agent's state, the room, who is in it. */
export function CallPanel({ call }: { call: Call }) {
  const inCall = isInCall(call);
  const now = useNow(500, inCall);
  const agent = agentOf(call);
  return (
    <>
      {inCall && agent !== null ? <AgentCard agent={agent} now={now} stale={isStale(call)} /> : null}
      <RoomCard call={call} now={now} />
      {inCall ? <PeopleCard call={call} /> : null}
    </>
  );
}

function AgentCard({ agent, now, stale }: { agent: Person; now: number; stale: boolean }) {
  const since = agent.history.at(-1)?.at ?? agent.joinedAt;
  return (
    <section className={`${styles["card"]} ${stale ? styles["stale"] : ""}`} aria-labelledby="agent-heading">
      <h2 id="agent-heading">Agent</h2>
      <div className={styles["state"]}>
        <StateMark state={agent.state ?? "unknown"} />
        <strong data-testid="agent-state">{agent.state ?? "no state"}</strong>
        <span className={styles["since"]}>{stale ? "last known" : clock(now - since)}</span>
      </div>
      <figure className={styles["history"]}>
        <Ribbon history={agent.history} now={now} />
        <figcaption>
          <span>1 min ago</span>
          <span className={styles["legend"]}>
            <Swatch state="listening" /> listens
            <Swatch state="thinking" /> thinks
            <Swatch state="speaking" /> speaks
          </span>
          <span>now</span>
        </figcaption>
      </figure>
    </section>
  );
}

function RoomCard({ call, now }: { call: Call; now: number }) {
  const { connection, room, me } = call;
  const duration = durationOf(call, now);
  return (
    <section className={styles["card"]} aria-labelledby="call-heading">
      <h2 id="call-heading">{isInCall(call) ? "Call" : "Last call"}</h2>
      <dl className={styles["facts"]}>
        {isInCall(call) ? <Fact name="Connection">{connectionWord[connection.at]}</Fact> : null}
        {duration === null ? null : (
          <Fact name="Duration">
            <time className={styles["number"]}>{clock(duration)}</time>
          </Fact>
        )}
        {room === null ? null : (
          <>
            <Fact name="Room">
              <Copyable text={room.name} name="room name" />
            </Fact>
            {room.sid === "" ? null : (
              <Fact name="Room id">
                <Copyable text={room.sid} name="room id" />
              </Fact>
            )}
            <Fact name="Server">
              <Copyable text={room.url} name="server address" />
            </Fact>
          </>
        )}
        {me === null ? null : (
          <Fact name="You">
            <Copyable text={me.identity} name="your identity" />
          </Fact>
        )}
      </dl>
    </section>
  );
}

const connectionWord = {
  idle: "none",
  joining: "joining",
  live: "connected",
  reconnecting: "reconnecting",
  ended: "closed",
} as const;

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function PeopleCard({ call }: { call: Call }) {
  const { me, others } = call;
  const present = call.connection.at === "joining" ? 0 : others.length + 1;
  return (
    <section className={styles["card"]} aria-labelledby="people-heading">
      <h2 id="people-heading">
        Participants <span className={styles["count"]}>{present}</span>
      </h2>
      {present === 0 || me === null ? null : (
        <ul className={styles["people"]}>
          {others.map((person) => (
            <li key={person.identity}>
              <span className={styles["name"]}>{person.name}</span>
              <span className={styles["note"]}>
                {person.role === "agent" ? "agent" : "guest"}, since {dayTime(person.joinedAt)}
              </span>
            </li>
          ))}
          <li>
            <span className={styles["name"]}>{me.name || me.identity}</span>
            <span className={styles["note"]}>you</span>
          </li>
        </ul>
      )}
    </section>
  );
}
