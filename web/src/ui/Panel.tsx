// The frame of everything on the desk: title, unit, how old it is, and an honest word when empty.
import type { ComponentChildren } from "preact";
import { again, useAge, type Got } from "../base/live";
import { span } from "../base/format";

const OLD = 10; // seconds after which an age is shown
const STALE = 30; // and after which the numbers fade

interface Props {
  id: string; title: string; unit?: string | undefined; path: string | null;
  got?: Got<unknown> | undefined; tools?: ComponentChildren; children?: ComponentChildren;
  /** Said instead of the content when there is an answer and nothing in it. */
  empty?: string | false | undefined; class?: string;
  /** Said when this service has no such route (404): not a fault, but not "nothing" either. */
  missing?: string;
}

export function Panel(p: Props) {
  const age = useAge(p.path);
  const failure = p.got?.failure;
  const waiting = p.path !== null && p.got && p.got.data === undefined && !failure;
  const lacking = failure?.status === 404 && p.missing;
  const stale = age !== undefined && age > STALE;
  return (
    <section id={p.id} class={`panel ${p.class ?? ""} ${stale ? "stale" : ""}`}
      aria-labelledby={`${p.id}-title`} aria-busy={waiting || undefined}>
      <header class="panel-head">
        <h2 id={`${p.id}-title`} tabIndex={-1}>{p.title}</h2>
        {p.unit && <span class="unit">{p.unit}</span>}
        {age !== undefined && age > OLD && (
          <span class={`age ${stale ? "bad" : ""}`} role="status">{span(age)} old</span>
        )}
        <span class="tools">{p.tools}</span>
      </header>
      {failure && !lacking && (
        <p class="failure" role="alert">
          {failure.title}. {failure.hint}{" "}
          {p.path && <button class="link" onClick={() => again(p.path as string)}>Ask again</button>}
        </p>
      )}
      {lacking ? <p class="empty">{p.missing}</p>
        : waiting ? <p class="empty quiet">asking …</p>
        : p.empty ? <p class="empty">{p.empty}</p>
        : p.got && p.got.data === undefined ? null
        : <div class="panel-body">{p.children}</div>}
    </section>
  );
}
