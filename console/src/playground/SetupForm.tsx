import { useState } from "react";
import { Button as AriaButton, Disclosure, DisclosurePanel, Form } from "react-aria-components";
import type { CallRequest } from "../call/call.ts";
import { Button } from "../ui/Button.tsx";
import { Field } from "../ui/Field.tsx";
import { AgentPicker } from "./AgentPicker.tsx";
import { ApiTokenForm } from "./ApiTokenForm.tsx";
import { agentNameOf, type Choice, firstChoice } from "./choice.ts";
import styles from "./SetupForm.module.css";
import type { Agents } from "./useAgents.ts";

interface SetupFormProps {
  agents: Agents;
  onCall: (request: CallRequest) => void;
}

/** Who to call, and as whom. */
export function SetupForm({ agents, onCall }: SetupFormProps) {
  const [picked, setPicked] = useState<Choice | null>(null);
  const [otherName, setOtherName] = useState("");
  const [name, setName] = useState("");
  const [room, setRoom] = useState("");
  const [agentMetadata, setAgentMetadata] = useState("");

  const { known, error } = agents;
  if (error?.code === "login_required" || error?.code === "api_token_invalid") {
    return <ApiTokenForm problem={error} onSaved={agents.refresh} />;
  }

  const choice = stillThere(picked, agents) ?? firstChoice(known ?? []);
  const agentName = agentNameOf(choice, otherName);
  const call = () => {
    if (agentName === undefined) return;
    onCall({ agentName, name: name.trim(), room: room.trim(), agentMetadata });
  };
  return (
    <Form
      className={styles["form"] ?? ""}
      onSubmit={(event) => {
        event.preventDefault();
        call();
      }}
    >
      <div className={styles["agents"]}>
        <h2 className={styles["label"]}>Agent</h2>
        <AgentPicker agents={known ?? []} choice={choice} onChoose={setPicked} />
        <ListState agents={agents} />
      </div>
      {choice.kind === "other" ? (
        <Field
          label="Agent name"
          value={otherName}
          onChange={setOtherName}
          placeholder="as its worker registers it"
          autoFocus
        />
      ) : null}
      <Field label="Your name" value={name} onChange={setName} placeholder="optional" />
      <MoreFields
        automatic={choice.kind === "auto"}
        room={[room, setRoom]}
        metadata={[agentMetadata, setAgentMetadata]}
      />
      <Button type="submit" look="primary" wide isDisabled={agentName === undefined}>
        Join
      </Button>
    </Form>
  );
}

type FieldState = readonly [value: string, change: (value: string) => void];

function MoreFields({ automatic, room, metadata }: { automatic: boolean; room: FieldState; metadata: FieldState }) {
  return (
    <Disclosure className={styles["more"] ?? ""}>
      {({ isExpanded }) => (
        <>
          <AriaButton slot="trigger" className={styles["trigger"] ?? ""}>
            <span aria-hidden="true">{isExpanded ? "−" : "+"}</span> Room and metadata
          </AriaButton>
          <DisclosurePanel>
            <div className={styles["fields"]}>
              <Field mono label="Room" value={room[0]} onChange={room[1]} hint="Empty: a new one for each call." />
              <Field
                mono
                label="Agent metadata"
                value={metadata[0]}
                onChange={metadata[1]}
                isDisabled={automatic}
                hint={automatic ? "Only a named agent gets some." : "The agent finds it in its job."}
              />
            </div>
          </DisclosurePanel>
        </>
      )}
    </Disclosure>
  );
}

function stillThere(picked: Choice | null, { known }: Agents): Choice | null {
  if (picked?.kind !== "agent" || known === undefined) return picked;
  return known.some((agent) => agent.name === picked.name) ? picked : null;
}

function ListState({ agents: { known, error } }: { agents: Agents }) {
  if (error !== null) {
    const old = known === undefined ? "" : " This list may be old.";
    return (
      <p className={styles["problem"]} role="alert">
        {error.message}. {error.fix}
        {old}
      </p>
    );
  }
  if (known === undefined) return <p className={styles["hint"]}>Asking which agents can be called…</p>;
  if (known.length > 0) return null;
  return <p className={styles["hint"]}>Greenroom knows of no agent that runs here. Others may be registered.</p>;
}
