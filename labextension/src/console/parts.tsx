// Small things that several views draw.
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { useConsole } from "./context";
import { commandLabel, t } from "./strings";
import type { Problem } from "./types";

/** Copies `text`, and says so for a moment. */
export function Copy({ text, what, children }: { text: string; what: string; children?: ComponentChildren }): JSX.Element {
  const [copied, setCopied] = useState(false);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  const copy = async (event: MouseEvent): Promise<void> => {
    await write(text, event.currentTarget as HTMLElement);
    setCopied(true);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setCopied(false), 1500);
  };
  return (
    <button type="button" class={copied ? "copy done" : "copy"} title={t("copyOf", { what })} onClick={copy}>
      {children}
      <svg aria-hidden="true" viewBox="0 0 16 16" width="13" height="13">
        {copied ? <path d="M3 8.5l3.2 3.2L13 4.8" /> : <path d="M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z" />}
      </svg>
      <span class="hidden">{copied ? t("copied") : t("copyOf", { what })}</span>
    </button>
  );
}

/** Puts `text` on the clipboard, also on pages that browsers do not trust with it (plain http off this machine). */
async function write(text: string, near: HTMLElement): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = document.createElement("textarea");
    field.value = text;
    near.after(field);
    field.select();
    document.execCommand("copy");
    field.remove();
    near.focus();
  }
}

/** A button of the table of commands: pointing at it shows the line that does the same. */
export function CommandButton(props: {
  id: string;
  args?: Readonly<Record<string, string>>;
  class?: string;
  busy?: boolean;
  children?: ComponentChildren;
  onClick: () => void;
}): JSX.Element | null {
  const { store, show } = useConsole();
  const command = store.commands.find((each) => each.id === props.id);
  if (command === undefined) return null;
  const point = (): void => show({ command, args: props.args ?? {} });
  return (
    <button
      type="button"
      class={props.class === "link" ? "link" : `button ${props.class ?? ""}`}
      data-command={props.id}
      disabled={props.busy || store.connection !== "open"}
      onMouseEnter={point}
      onFocus={point}
      onClick={props.onClick}
    >
      {props.children ?? commandLabel(command.label)}
    </button>
  );
}

/** A problem with its remedy; neutral for what merely takes time. */
export function ProblemText({ problem, calm }: { problem: Problem; calm?: boolean }): JSX.Element {
  return (
    <div class={calm ? "problem calm" : "problem"}>
      <span class="code">
        {calm ? "…" : "✗"} {problem.code}
      </span>
      <span>
        {problem.message}
        {problem.where && !problem.message.includes(problem.where) ? ` (${problem.where})` : ""}
        {problem.hint ? <span class="hint">{problem.hint}</span> : null}
      </span>
    </div>
  );
}

/** What stands where there is nothing yet, with the next step. */
export function Empty({ title, next, children }: { title: string; next: string; children?: ComponentChildren }): JSX.Element {
  return (
    <div class="empty">
      <p class="title">{title}</p>
      <p>{next}</p>
      {children}
    </div>
  );
}

/** The number of the colour of a version: its place among those of its model, so that neighbours differ. */
export function colour(version: number): string {
  return `v${((version % 6) + 6) % 6}`;
}
