import { ListBox, ListBoxItem } from "react-aria-components";
import type { ListedAgent } from "../api/api.ts";
import { StateMark } from "../ui/StateMark.tsx";
import styles from "./AgentPicker.module.css";
import { type Choice, choiceOf, keyOf } from "./choice.ts";

interface AgentPickerProps {
  agents: readonly ListedAgent[];
  choice: Choice;
  onChoose: (choice: Choice) => void;
}

interface Row {
  key: string;
  name: string;
  note: string;
  detail: string;
  state: ListedAgent["state"] | "unknown";
}

export function AgentPicker({ agents, choice, onChoose }: AgentPickerProps) {
  return (
    <ListBox
      aria-label="Agent"
      className={styles["list"] ?? ""}
      selectionMode="single"
      selectionBehavior="replace"
      disallowEmptySelection
      items={rowsOf(agents)}
      selectedKeys={[keyOf(choice)]}
      onSelectionChange={(keys) => {
        if (keys === "all") return;
        for (const key of keys) onChoose(choiceOf(String(key)));
      }}
    >
      {(row) => (
        <ListBoxItem id={row.key} textValue={row.name} className={styles["row"] ?? ""}>
          <StateMark state={row.state} />
          <span className={styles["name"]}>{row.name}</span>
          <span className={styles["note"]}>{row.note}</span>
          {row.detail === "" ? null : (
            <span className={`${styles["detail"]} ${row.state === "failed" ? styles["bad"] : ""}`}>{row.detail}</span>
          )}
        </ListBoxItem>
      )}
    </ListBox>
  );
}

function rowsOf(agents: readonly ListedAgent[]): Row[] {
  const named = agents.filter((agent) => agent.name !== "");
  const unnamed = agents.find((agent) => agent.name === "");
  return [
    ...named.map(({ name, state, detail }) => ({
      key: keyOf({ kind: "agent", name }),
      name,
      note: state,
      detail,
      state,
    })),
    {
      key: "auto",
      name: "Any agent",
      note: unnamed?.state ?? "automatic dispatch",
      detail: unnamed?.detail ?? "",
      state: unnamed?.state ?? "unknown",
    },
    { key: "other", name: "Another agent", note: "by name", detail: "", state: "unknown" },
  ];
}
