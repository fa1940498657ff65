// A part of the page that is fetched when it is first wanted.
import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";

export function later<P extends object>(fetched: () => Promise<ComponentType<P>>, waiting = "One moment …") {
  let kept: ComponentType<P> | undefined;
  return function Later(props: P) {
    const [Part, setPart] = useState<ComponentType<P> | undefined>(() => kept);
    const [said, setSaid] = useState(waiting);
    useEffect(() => {
      if (kept) return;
      fetched().then((part) => {
        kept = part;
        setPart(() => part);
      }, () => setSaid("This part could not be fetched. Load the page again when the service answers."));
    }, []);
    return Part ? <Part {...props} /> : <p class="empty page">{said}</p>;
  };
}
