// Which model, version or label is meant, and how it is called.
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { useConsole } from "./context";
import { t } from "./strings";
import type { Calls, Outcome, Snapshot } from "./types";

/** A version as a choice: "" is the newest, "2" a number, "@canary" a label. */
export type Which = string;

export function asArguments(model: string, which: Which): Record<string, string> {
  if (which.startsWith("@")) return { model, version: "", label: which.slice(1) };
  return { model, version: which, label: "" };
}

export function Choice(props: {
  snapshot: Snapshot;
  model: string;
  which: Which;
  onModel: (model: string) => void;
  onWhich: (which: Which) => void;
}): JSX.Element {
  const versions = props.snapshot.models.find((model) => model.name === props.model)?.versions ?? [];
  const serving = versions.filter((version) => version.state === "AVAILABLE");
  const labels = serving.flatMap((version) => version.labels);
  return (
    <>
      <label class="field">
        <span>{t("model")}</span>
        <select value={props.model} onChange={(event) => props.onModel(event.currentTarget.value)}>
          {props.snapshot.models.map((model) => (
            <option key={model.name} value={model.name}>{model.name}</option>
          ))}
        </select>
      </label>
      <label class="field">
        <span>{t("version")}</span>
        <select value={props.which} onChange={(event) => props.onWhich(event.currentTarget.value)}>
          <option value="">{t("newest")}</option>
          {labels.map((label) => (
            <option key={label} value={`@${label}`}>{label}</option>
          ))}
          {serving.map((version) => (
            <option key={version.number} value={String(version.number)}>{version.number}</option>
          ))}
        </select>
      </label>
    </>
  );
}

/** The model that is meant: the chosen one while it is there, else the first that answers. */
export function chosen(snapshot: Snapshot, model: string): string {
  const names = snapshot.models.map((each) => each.name);
  const answering = snapshot.models.find((each) => each.versions.some((version) => version.state === "AVAILABLE"));
  return names.includes(model) ? model : (answering?.name ?? names[0] ?? "");
}

/** How a model is called, asked for again when other versions of it serve; an Outcome when nothing answers. */
export function useCalls(snapshot: Snapshot, model: string, which: Which): Calls | Outcome | null {
  const { run, store } = useConsole();
  const [calls, setCalls] = useState<Calls | Outcome | null>(null);
  const serving = snapshot.models
    .find((each) => each.name === model)
    ?.versions.filter((version) => version.state === "AVAILABLE")
    .map((version) => `${version.number} ${version.since}`)
    .join();
  useEffect(() => {
    let asked = true;
    if (model === "" || store.connection !== "open") return undefined;
    void run("describe", asArguments(model, which)).then((outcome) => {
      if (asked) setCalls(outcome.ok ? (outcome.value as Calls) : outcome);
    });
    return () => {
      asked = false;
    };
  }, [model, which, serving, store.connection]);
  return calls;
}

export function isCalls(calls: Calls | Outcome | null): calls is Calls {
  return calls !== null && "signatures" in calls;
}
