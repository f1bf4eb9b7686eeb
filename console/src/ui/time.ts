import { useEffect, useState } from "react";

/** The time, renewed every `period` milliseconds while `running`. */
export function useNow(period: number, running: boolean): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    if (!running) return;
    const renew = () => {
      setNow(Date.now());
    };
    // Once at the start of each run, for what happened since the last one ended.
    const first = setTimeout(renew, 0);
    const timer = setInterval(renew, period);
    return () => {
      clearTimeout(first);
      clearInterval(timer);
    };
  }, [period, running]);
  return now;
}

/** `4:07`, or `1:04:07` from an hour on. */
export function clock(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const parts = [Math.floor(seconds / 60) % 60, seconds % 60];
  if (seconds >= 3600) parts.unshift(Math.floor(seconds / 3600));
  return parts.map((part, index) => (index === 0 ? String(part) : String(part).padStart(2, "0"))).join(":");
}

/** `0.31 s`, or `12 ms` below a tenth of a second. */
export function span(milliseconds: number): string {
  return milliseconds < 100 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(2)} s`;
}

const timeOfDay = new Intl.DateTimeFormat(undefined, { timeStyle: "medium", hourCycle: "h23" });

export function dayTime(at: number): string {
  return timeOfDay.format(at);
}
