import { useEffect, useRef } from "react";
import styles from "./LevelBar.module.css";

interface LevelBarProps {
  label: string;
  /** Whether there is something to measure. */
  live: boolean;
  /** The level now, from 0 to 1. */
  read: () => number;
}

/** How often it moves, in milliseconds. */
const period = 60;

/** A level that moves with sound. It is drawn past React, which has nothing to decide here. */
export function LevelBar({ label, live, read }: LevelBarProps) {
  const bar = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!live) return;
    const element = bar.current;
    let shown = 0;
    const draw = () => {
      // Up at once, down slowly, so that the eye can follow.
      shown = Math.max(read(), shown * 0.8);
      element?.style.setProperty("--level", shown.toFixed(3));
      element?.setAttribute("aria-valuenow", String(Math.round(shown * 100)));
    };
    const timer = setInterval(draw, period);
    return () => {
      clearInterval(timer);
      element?.style.setProperty("--level", "0");
      element?.setAttribute("aria-valuenow", "0");
    };
  }, [live, read]);
  return (
    <div
      ref={bar}
      className={styles["bar"]}
      role="meter"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={0}
    />
  );
}
