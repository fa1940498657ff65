// Asking the service over HTTP. The key lives in this tab's session storage and nowhere else.
import { Cell } from "./cell";

const KEY = "tidegate.key";

export interface Failure { status: number; title: string; hint: string }

export class Refused extends Error {
  constructor(readonly failure: Failure) {
    super(failure.title);
  }
}

function kept(): string {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}

export const key = new Cell(kept());
/** Counts the keys that were given: whoever waits for one listens here. */
export const turns = new Cell(0);
/** Why a key is asked for; empty while none is needed. */
export const locked = new Cell("");

export function setKey(token: string): void {
  try {
    if (token) sessionStorage.setItem(KEY, token);
    else sessionStorage.removeItem(KEY);
  } catch {
    // Without session storage the key lasts until the page is left.
  }
  locked.value = "";
  key.value = token;
  turns.value += 1;
}

export function address(path: string): URL {
  return new URL(path, document.baseURI);
}

async function problem(answer: Response): Promise<Failure> {
  let title = `${answer.status} ${answer.statusText}`.trim();
  let hint = "";
  try {
    const said = await answer.json();
    title = [said.title, said.detail].filter(Boolean).join(": ") || title;
    hint = said.hint ?? "";
  } catch {
    // Not a problem document: the status says what there is to say.
  }
  return { status: answer.status, title, hint };
}

const PATIENCE = 20_000; // ms; who has not answered by then does not answer

export async function ask<T>(path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (key.value) headers.Authorization = `Bearer ${key.value}`;
  const used = key.value;
  const late = AbortSignal.timeout(PATIENCE);
  const init: RequestInit = {
    headers, credentials: "omit", cache: "no-store", signal: signal ? AbortSignal.any([signal, late]) : late,
  };
  if (body !== undefined) {
    init.method = "POST";
    init.body = JSON.stringify(body);
    headers["Content-Type"] = "application/json";
  }
  let answer: Response;
  try {
    answer = await fetch(address(path), init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Refused({ status: 0, title: "the service does not answer", hint: "" });
  }
  if (answer.status === 401 && used === key.value) {
    locked.value = used ? "This key was not accepted." : "This service asks for an API key.";
  }
  if (!answer.ok) throw new Refused(await problem(answer));
  return (await answer.json()) as T;
}
