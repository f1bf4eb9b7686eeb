import type { ReactNode } from "react";
import { Input, Label, Text, TextField, type TextFieldProps } from "react-aria-components";
import styles from "./Field.module.css";

interface FieldProps extends Omit<TextFieldProps, "className" | "children"> {
  label: string;
  hint?: ReactNode;
  placeholder?: string;
  mono?: boolean;
}

export function Field({ label, hint, placeholder, mono = false, ...props }: FieldProps) {
  return (
    <TextField {...props} className={styles["field"] ?? ""}>
      <Label className={styles["label"] ?? ""}>{label}</Label>
      <Input className={`${styles["input"]} ${mono ? styles["mono"] : ""}`} placeholder={placeholder ?? ""} />
      {hint === undefined ? null : (
        <Text slot="description" className={styles["hint"] ?? ""}>
          {hint}
        </Text>
      )}
    </TextField>
  );
}
