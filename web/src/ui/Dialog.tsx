// A drawer at the side or a box in the middle; the browser keeps focus inside and Escape closes.
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

interface Props {
  title: string; label?: string; onClose: () => void; children: ComponentChildren; side?: boolean;
  firm?: boolean; // has to be answered: Escape does not close it
}

export function Dialog({ title, label, onClose, children, side, firm }: Props) {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const from = document.activeElement as HTMLElement | null;
    ref.current?.showModal();
    return () => from?.isConnected && from.focus();
  }, []);
  return (
    <dialog ref={ref} class={side ? "drawer" : "box"} aria-label={label ?? title}
      onCancel={(e) => { e.preventDefault(); if (!firm) onClose(); }}
      onClick={(e) => { if (e.target === ref.current && !firm) onClose(); }}>
      <div class="dialog-in">
        <header class="dialog-head">
          <h2>{title}</h2>
          {!firm && <button class="icon" aria-label="Close" onClick={onClose}>✕</button>}
        </header>
        {children}
      </div>
    </dialog>
  );
}
