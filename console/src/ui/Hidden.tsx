import type { HTMLAttributes } from "react";
import styles from "./Hidden.module.css";

/** Content for who listens to the page: there for assistive technology, not on screen. */
export function Hidden(props: HTMLAttributes<HTMLElement>) {
  return <div {...props} className={styles["hidden"]} />;
}
