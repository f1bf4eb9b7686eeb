import styles from "./Icon.module.css";

const shapes = {
  microphone:
    "M10 2.5a2.5 2.5 0 0 0-2.5 2.5v5a2.5 2.5 0 0 0 5 0V5A2.5 2.5 0 0 0 10 2.5ZM4.5 9.5a5.5 5.5 0 0 0 11 0M10 15v2.5",
  speaker: "M3.5 7.75h3L11 4v12l-4.5-3.75h-3ZM13.75 7.25a4 4 0 0 1 0 5.5M16 5a7.25 7.25 0 0 1 0 10",
  down: "m6 8 4 4 4-4",
} as const;

/** A line drawing in the colour of the text. Words beside it, or the name of what it is in, say what it means. */
export function Icon({ shape, off = false }: { shape: keyof typeof shapes; off?: boolean }) {
  return (
    <svg className={styles["icon"]} viewBox="0 0 20 20" width="16" height="16" aria-hidden="true">
      <path d={shapes[shape]} />
      {off ? <path className={styles["stroke"]} d="m3 3 14 14" /> : null}
    </svg>
  );
}
