import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { useSyncExternalStore } from "react";
import { Playground } from "../playground/Playground.tsx";
import { Pools } from "../pools/Pools.tsx";
import { Shell } from "./Shell.tsx";

const queries = new QueryClient({ defaultOptions: { queries: { retry: false, networkMode: "always" } } });

export function App() {
  const showsPools = useSyncExternalStore(onHashChange, () => location.hash === "#pools");
  return (
    <QueryClientProvider client={queries}>
      <Shell
        section={showsPools ? "Pools" : "Playground"}
        other={showsPools ? { name: "Playground", href: "#" } : { name: "Pools", href: "#pools" }}
      >
        {showsPools ? <Pools /> : <Playground />}
      </Shell>
    </QueryClientProvider>
  );
}

function onHashChange(listener: () => void): () => void {
  addEventListener("hashchange", listener);
  return () => {
    removeEventListener("hashchange", listener);
  };
}
