/** Greenroom's API, as far as this page uses it. */

export type ListedState = "starting" | "ready" | "failed";

export interface ListedAgent {
  /** Empty: the unnamed agent that the server dispatches by itself. */
  readonly name: string;
  readonly state: ListedState;
  readonly detail: string;
}

export interface TokenRequest {
  readonly room?: string;
  readonly identity?: string;
  readonly name?: string;
  readonly agent_name?: string;
  readonly agent_metadata?: string;
}

export interface RoomToken {
  readonly url: string;
  readonly token: string;
  readonly room: string;
  readonly identity: string;
}

/** What a request failed with: RFC 9457 with Greenroom's `code` and `fix`, or no answer at all. */
export class ApiError extends Error {
  readonly code: string;
  readonly fix: string;

  constructor(message: string, code: string, fix: string) {
    super(message);
    this.name = "ApiError";
    this.code = code;
    this.fix = fix;
  }
}

const tokenKey = "greenroom.api_token";

/** Keeps the bearer token that this server asks for, until the tab is closed. */
export function rememberApiToken(token: string): void {
  sessionStorage.setItem(tokenKey, token);
}

export async function listAgents(signal?: AbortSignal): Promise<readonly ListedAgent[]> {
  const body = (await send("/api/agents", { ...(signal ? { signal } : {}) })) as { agents: ListedAgent[] };
  return body.agents;
}

export async function createToken(asked: TokenRequest, signal?: AbortSignal): Promise<RoomToken> {
  const init = { method: "POST", body: JSON.stringify(asked), headers: { "Content-Type": "application/json" } };
  return (await send("/api/token", { ...init, ...(signal ? { signal } : {}) })) as RoomToken;
}

/** What a pool of agents told of itself last. Figures that nobody knows are `null`. */
export interface Pool {
  readonly instance: string;
  /** Three reports are missing: nothing of this need be true any more. */
  readonly lost: boolean;
  readonly asked: readonly string[];
  readonly report: {
    readonly machine: string;
    readonly pid: number;
    readonly state: string;
    readonly load: number;
    readonly max_sessions: number;
    readonly deployment: string;
    readonly shards: readonly Shard[];
    readonly sessions: readonly unknown[];
  };
}

export interface Shard {
  readonly number: number;
  readonly pid: number;
  readonly state: string;
  readonly sessions: number;
  readonly lag: number | null;
  readonly cpu: number | null;
  readonly rss: number | null;
  readonly pss: number | null;
}

export async function listPools(signal?: AbortSignal): Promise<readonly Pool[]> {
  const body = (await send("/api/pools", { ...(signal ? { signal } : {}) })) as { pools: Pool[] };
  return body.pools;
}

/** Asks a pool to take no more calls and to end after the last of them. */
export async function drainPool(instance: string): Promise<void> {
  const init = { method: "POST", body: "{}", headers: { "Content-Type": "application/json" } };
  await send(`/api/pools/${encodeURIComponent(instance)}/drain`, init);
}

async function send(path: string, init: RequestInit): Promise<unknown> {
  const headers = new Headers(init.headers);
  const apiToken = sessionStorage.getItem(tokenKey);
  if (apiToken !== null) headers.set("Authorization", `Bearer ${apiToken}`);
  let response: Response;
  try {
    response = await fetch(path, { ...init, headers, cache: "no-store" });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ApiError("Greenroom does not answer", "unreachable", "Check that it is still running.");
  }
  if (!response.ok) throw await problemOf(response);
  return response.json();
}

async function problemOf(response: Response): Promise<ApiError> {
  try {
    const problem = (await response.json()) as { detail?: string; title?: string; code?: string; fix?: string };
    return new ApiError(problem.detail ?? problem.title ?? response.statusText, problem.code ?? "", problem.fix ?? "");
  } catch {
    return new ApiError(`Greenroom answered ${response.status} ${response.statusText}`, "", "Its log may say why.");
  }
}
