import { useState } from "react";
import { Form } from "react-aria-components";
import { type ApiError, rememberApiToken } from "../api/api.ts";
import { Button } from "../ui/Button.tsx";
import { Field } from "../ui/Field.tsx";
import styles from "./SetupForm.module.css";

/** Asks who does not come from the server's own machine for a token, and says how to log in instead. */
export function ApiTokenForm({ problem, onSaved }: { problem: ApiError; onSaved: () => void }) {
  const [token, setToken] = useState("");
  return (
    <Form
      className={styles["form"] ?? ""}
      onSubmit={(event) => {
        event.preventDefault();
        rememberApiToken(token.trim());
        onSaved();
      }}
    >
      <Field
        autoFocus
        label="API token"
        type="password"
        autoComplete="off"
        value={token}
        onChange={setToken}
        hint={`${hintOf(problem)} It is kept until this tab is closed.`}
      />
      <Button type="submit" look="primary" wide isDisabled={token.trim() === ""}>
        Continue
      </Button>
    </Form>
  );
}

function hintOf({ code, message, fix }: ApiError): string {
  return code === "login_required" ? `${message}. ${fix}. Or enter a token here.` : `${message}.`;
}
