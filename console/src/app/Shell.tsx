import type { ReactNode } from "react";
import styles from "./Shell.module.css";

interface ShellProps {
  section: string;
  /** The screen that one can go to from here. */
  other: { readonly name: string; readonly href: string };
  children: ReactNode;
}

/** The frame that every screen stands in. */
export function Shell({ section, other, children }: ShellProps) {
  return (
    <div className={styles["shell"]}>
      <header className={styles["bar"]}>
        <a className={styles["brand"]} href="/">
          <Mark />
          Greenroom
        </a>
        <h1 className={styles["section"]}>{section}</h1>
        <nav className={styles["nav"]} aria-label="Screens">
          <a className={styles["other"]} href={other.href}>
            {other.name}
          </a>
        </nav>
      </header>
      <main className={styles["main"]}>{children}</main>
    </div>
  );
}

function Mark() {
  return (
    <svg viewBox="0 0 20 20" width="18" height="18" aria-hidden="true">
      <path
        d="M10 2.2A7.8 7.8 0 1 0 17.8 10H10"
        fill="none"
        stroke="currentColor"
        strokeWidth="2.6"
        strokeLinecap="round"
      />
      <circle cx="16" cy="4.2" r="2.2" fill="currentColor" />
    </svg>
  );
}
