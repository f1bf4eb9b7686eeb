import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { Playground } from "../playground/Playground.tsx";
import { Shell } from "./Shell.tsx";

const queries = new QueryClient({ defaultOptions: { queries: { retry: false, networkMode: "always" } } });

export function App() {
  return (
    <QueryClientProvider client={queries}>
      <Shell section="Playground">
        <Playground />
      </Shell>
    </QueryClientProvider>
  );
}
