import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { drainPool, listPools, type Pool, type Shard } from "../api/api.ts";
import { Button } from "../ui/Button.tsx";
import { bytes, lateness, share, stateOf } from "./figures.ts";
import styles from "./Pools.module.css";

/** The pools of agents that report here, renewed every two seconds. */
export function Pools() {
  const query = useQuery({ queryKey: ["pools"], queryFn: ({ signal }) => listPools(signal), refetchInterval: 2000 });
  return (
    <div className={styles["screen"]}>
      {query.error !== null && (
        <p role="alert" className={styles["problem"]}>
          {query.error.message}
        </p>
      )}
      {query.data?.length === 0 && (
        <p className={styles["none"]}>
          No pool reports here. Start one: <code>greenroom agents PATH --observability-url {location.origin}</code>
        </p>
      )}
      {query.data?.map((pool) => (
        <OnePool key={pool.instance} pool={pool} />
      ))}
    </div>
  );
}

function OnePool({ pool }: { pool: Pool }) {
  const { report } = pool;
  const gone = pool.lost || report.state === "stopped";
  const title = `${report.machine}/${String(report.pid)}`;
  return (
    <section className={styles["pool"]} aria-label={`Pool ${title}`}>
      <div className={styles["head"]}>
        <h2 className={styles["name"]}>{title}</h2>
        <p className={styles["facts"]}>
          {stateOf(pool)}
          {!gone && ` · ${String(report.sessions.length)} of ${String(report.max_sessions)} calls`}
          {!gone && ` · load ${share(report.load)}`}
          {report.deployment !== "" && ` · ${report.deployment}`}
        </p>
        {!gone && report.state !== "draining" && <Drain pool={pool} title={title} />}
      </div>
      {!gone && <Shards shards={report.shards} title={title} />}
    </section>
  );
}

function Drain({ pool, title }: { pool: Pool; title: string }) {
  const [asks, setAsks] = useState(false);
  const queries = useQueryClient();
  const drain = useMutation({
    mutationFn: () => drainPool(pool.instance),
    onSettled: () => queries.invalidateQueries({ queryKey: ["pools"] }),
  });
  if (pool.asked.includes("drain")) return <p className={styles["facts"]}>Asked to drain…</p>;
  if (!asks) {
    return (
      <Button
        look="danger"
        aria-label={`Drain ${title}`}
        onPress={() => {
          setAsks(true);
        }}
      >
        Drain…
      </Button>
    );
  }
  return (
    <div role="group" aria-label={`Drain ${title}?`} className={styles["confirm"]}>
      <p role="status">
        {drain.error === null ? "It takes no more calls, and ends after the last." : drain.error.message}
      </p>
      <Button
        look="danger"
        autoFocus
        isPending={drain.isPending}
        onPress={() => {
          drain.mutate();
        }}
      >
        Drain
      </Button>
      <Button
        look="quiet"
        onPress={() => {
          setAsks(false);
        }}
      >
        Cancel
      </Button>
    </div>
  );
}

function Shards({ shards, title }: { shards: readonly Shard[]; title: string }) {
  return (
    <div className={styles["scroll"]} role="region" aria-label={`Shards of ${title}`} tabIndex={0}>
      <table className={styles["shards"]}>
        <thead>
          <tr>
            {["Shard", "State", "Calls", "Lag", "CPU", "Memory"].map((name) => (
              <th key={name} scope="col">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {shards.map((shard) => (
            <tr key={shard.number}>
              <th scope="row">{shard.number}</th>
              <td>{shard.state}</td>
              <td>{shard.sessions}</td>
              <td>{lateness(shard.lag)}</td>
              <td>{share(shard.cpu)}</td>
              <td>{bytes(shard.pss ?? shard.rss)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
