import { useEffect, useState } from "react";
import { Button } from "react-aria-components";
import styles from "./Copyable.module.css";

interface CopyableProps {
  text: string;
  /** What the text is, for who cannot see it. */
  name: string;
  block?: boolean;
}

/** A value in type of one width; pressing it copies it. */
export function Copyable({ text, name, block = false }: CopyableProps) {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => {
      setCopied(false);
    }, 1500);
    return () => {
      clearTimeout(timer);
    };
  }, [copied]);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setCopied(true);
    } catch {
      // Without leave to write there, or outside a secure context, the text can still be selected.
    }
  };
  return (
    <Button
      className={`${styles["copyable"]} ${block ? styles["block"] : ""}`}
      aria-label={copied ? `Copied ${name}` : `Copy ${name}: ${text}`}
      onPress={() => void copy()}
    >
      <code>{text}</code>
      {/* Drawn, not written: the name of the button has to hold the words that stand on it. */}
      <span className={styles["sign"]} aria-hidden="true" data-word={copied ? "copied" : "copy"} />
    </Button>
  );
}
