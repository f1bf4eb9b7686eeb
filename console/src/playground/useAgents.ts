import { useQuery } from "@tanstack/react-query";
import { ApiError, listAgents, type ListedAgent } from "../api/api.ts";

export interface Agents {
  /** `undefined` before the first answer. */
  readonly known: readonly ListedAgent[] | undefined;
  /** What the last request failed with: `known` may be old then. */
  readonly error: ApiError | null;
  readonly refresh: () => void;
}

/** The agents that can be called, renewed every two seconds. */
export function useAgents(): Agents {
  const query = useQuery({
    queryKey: ["agents"],
    queryFn: ({ signal }) => listAgents(signal),
    refetchInterval: 2000,
  });
  const error = query.error === null ? null : asApiError(query.error);
  return { known: query.data, error, refresh: () => void query.refetch() };
}

function asApiError(error: Error): ApiError {
  return error instanceof ApiError ? error : new ApiError(error.message, "", "");
}
