// The configuration in force as text: edited here, applied as a whole or not at all, and taken back step by step.
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { useConsole } from "../context";
import { difference } from "../difference";
import { CommandButton, Copy, ProblemText } from "../parts";
import { t } from "../strings";
import type { Outcome, Snapshot } from "../types";

export function Config({ snapshot }: { snapshot: Snapshot }): JSX.Element {
  const { store, run } = useConsole();
  const [inForce, setInForce] = useState<string | null>(null);
  const [text, setText] = useState("");
  const [outcome, setOutcome] = useState<Outcome | null>(null);
  const [busy, setBusy] = useState(false);
  const last = snapshot.events.filter((event) => event.kind === "config").at(-1)?.time ?? 0;
  const edited = inForce !== null && text !== inForce;
  const read = async (): Promise<void> => {
    const found = await run("config");
    if (!found.ok) return;
    const now = found.value as string;
    setText((before) => (inForce === null || before === inForce ? now : before));
    setInForce(now);
  };
  useEffect(() => {
    if (store.connection === "open") void read();
  }, [last, store.connection]);
  const change = async (id: string, args: Record<string, string> = {}): Promise<void> => {
    setBusy(true);
    const done = await run(id, args);
    setBusy(false);
    setOutcome(done);
    const found = await run("config");
    if (!found.ok) return;
    setInForce(found.value as string);
    if (done.ok) setText(found.value as string);
  };
  return (
    <div class="config">
      <textarea
        class="body"
        spellcheck={false}
        aria-label={t("configOf")}
        rows={Math.min(Math.max(text.split("\n").length + 1, 8), 24)}
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
      />
      <div class="bar">
        <CommandButton id="apply" class="primary" args={{ text }} busy={busy || !edited} onClick={() => void change("apply", { text })} />
        <button type="button" class="button" disabled={!edited} onClick={() => setText(inForce ?? "")}>{t("discard")}</button>
        <CommandButton id="undo" busy={busy || edited} onClick={() => void change("undo")} />
        <span class="space" />
        <Copy text={text} what={t("config")} />
      </div>
      {outcome !== null && !outcome.ok ? <ProblemText problem={{ ...outcome, where: "" }} /> : null}
      {edited ? (
        <pre class="difference" tabIndex={0} aria-label={t("difference")}>
          {difference(inForce, text).map(([sign, line], place) => (
            <span key={place} class={sign === "+" ? "added" : sign === "-" ? "taken" : "faint"}>{`${sign} ${line}\n`}</span>
          ))}
        </pre>
      ) : null}
    </div>
  );
}
