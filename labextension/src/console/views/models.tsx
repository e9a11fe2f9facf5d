// The models: a row each with its versions as chips, and below it, when it is open, a row a version.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { useConsole } from "../context";
import { count, duration, rate } from "../format";
import { colour, CommandButton, Empty, ProblemText } from "../parts";
import { Sparkline } from "../sparkline";
import { t } from "../strings";
import type { Model, Snapshot, Version } from "../types";

const FILTER_FROM = 8;
const CALM_SECONDS = 10;
const CHIPS = 6;

const MARKS: Readonly<Record<string, [string, string]>> = {
  START: ["◌", "start"],
  LOADING: ["◔", "loading"],
  AVAILABLE: ["●", "available"],
  UNLOADING: ["◑", "unloading"],
  END: ["○", "ended"],
  WAITING: ["…", "waiting"],
  MISSING: ["○", "missing"],
};

export function stateOf(version: Version): { mark: string; word: string; tone: string } {
  const [mark, word] = MARKS[version.state] ?? ["?", "missing"];
  if (version.problem !== null && version.state !== "AVAILABLE") return { mark: "✗", word: t("failed"), tone: "failed" };
  const tone = version.state === "AVAILABLE" ? "available" : "calm";
  return { mark, word: t(word as "start"), tone };
}

export function Models({ snapshot }: { snapshot: Snapshot }): JSX.Element {
  const [filter, setFilter] = useState("");
  const [troubled, setTroubled] = useState(false);
  const { models } = snapshot;
  if (models.length === 0) return <Empty title={t("noModels")} next={t("noModelsNext")} />;
  const shown = models.filter(
    (model) =>
      model.name.toLowerCase().includes(filter.toLowerCase()) && (!troubled || model.problems.length > 0),
  );
  return (
    <div class="models">
      {models.length >= FILTER_FROM || filter !== "" || troubled ? (
        <div class="bar">
          <input
            type="search"
            aria-label={t("filter")}
            placeholder={t("filter")}
            value={filter}
            onInput={(event) => setFilter(event.currentTarget.value)}
          />
          <label>
            <input type="checkbox" checked={troubled} onChange={(event) => setTroubled(event.currentTarget.checked)} />
            {t("problemsOnly")}
          </label>
          <span class="faint number">
            {shown.length} / {models.length}
          </span>
        </div>
      ) : null}
      {shown.length === 0 ? (
        <Empty title={t("noMatch")} next={t("noMatchNext")} />
      ) : (
        <table class="grid">
          <thead>
            <tr>
              <th scope="col" class="c-name">{t("model")}</th>
              <th scope="col" class="c-chips">{t("versions")}</th>
              <th scope="col" class="c-line">{t("lastMinute")}</th>
              <th scope="col" class="c-number">{t("rate")}</th>
              <th scope="col" class="c-number">{t("p50")}</th>
              <th scope="col" class="c-number">{t("p99")}</th>
              <th scope="col" class="c-number c-errors">{t("errors")}</th>
              <th scope="col" class="c-policy">{t("policy")}</th>
            </tr>
          </thead>
          {shown.map((model) => (
            <ModelRows key={model.name} model={model} now={snapshot.time} />
          ))}
        </table>
      )}
    </div>
  );
}

function ModelRows({ model, now }: { model: Model; now: number }): JSX.Element {
  const [isOpen, setOpen] = useState(false);
  const { store, open } = useConsole();
  const busiest = [...model.versions].sort((one, other) => (other.rate ?? -1) - (one.rate ?? -1))[0];
  const all = model.versions.reduce((sum, version) => sum + (version.rate ?? 0), 0);
  const errors = model.versions.reduce((sum, version) => sum + version.errors, 0);
  const known = model.versions.some((version) => version.rate !== null);
  return (
    <tbody class={isOpen ? "open" : ""}>
      <tr class="model">
        <th scope="row" class="c-name">
          <button
            type="button"
            class="toggle"
            aria-expanded={isOpen}
            title={model.place ? `${model.name}\n${model.place}` : model.name}
            onClick={() => setOpen(!isOpen)}
          >
            <svg aria-hidden="true" viewBox="0 0 16 16" width="12" height="12"><path d="M6 3.5L10.5 8L6 12.5" /></svg>
            <span class="name">{model.name || "–"}</span>
          </button>
        </th>
        <td class="c-chips">
          <Chips versions={model.versions} />
        </td>
        <td class="c-line">
          <Sparkline history={store.history} model={model.name} />
        </td>
        <td class="c-number strong">{rate(known ? all : null)}</td>
        <td class="c-number">{duration(busiest?.p50_us ?? null)}</td>
        <td class="c-number">{duration(busiest?.p99_us ?? null)}</td>
        <td class={errors > 0 ? "c-number c-errors bad" : "c-number c-errors faint"}>{count(errors)}</td>
        <td class="c-policy faint" title={model.configured ? model.policy : ""}>{model.configured ? model.policy : t("removed")}</td>
      </tr>
      {isOpen ? model.versions.map((version) => <VersionRow key={version.number} model={model} version={version} />) : null}
      {isOpen ? (
        <tr class="about">
          <td colSpan={8}>
            <code>{model.place}</code>{" "}
            <button type="button" class="link" onClick={() => open("try", model.name)}>{t("try")}</button>
            <button type="button" class="link" onClick={() => open("calls", model.name)}>{t("calls")}</button>
            {model.configured ? <Policies model={model} /> : null}
          </td>
        </tr>
      ) : null}
      {model.problems.length > 0 ? (
        <tr class="problems">
          <td colSpan={8}>
            {model.problems.map((problem) => (
              <ProblemText key={problem.message} problem={problem} calm={isCalm(model, problem.message, now)} />
            ))}
          </td>
        </tr>
      ) : null}
    </tbody>
  );
}

/** Whether a problem merely takes time: a first attempt that is seconds old, or files that are still coming. */
function isCalm(model: Model, message: string, now: number): boolean {
  if (model.versions.some((version) => version.note !== "" && message.includes(version.note))) return true;
  const version = model.versions.find((each) => each.problem?.message === message);
  return version !== undefined && version.state === "LOADING" && now - version.since < CALM_SECONDS;
}

/** Which versions of a model are served, as one click each. */
function Policies({ model }: { model: Model }): JSX.Element {
  const { run } = useConsole();
  const choices = [["latest=1", "latest 1", t("serveNewest")], ["all", "all", t("serveAll")]] as const;
  return (
    <>
      {choices.map(([policy, inForce, text]) => (
        <CommandButton
          key={policy}
          id="policy"
          class="link"
          args={{ model: model.name, policy }}
          busy={model.policy === inForce}
          onClick={() => void run("policy", { model: model.name, policy })}
        >
          {text}
        </CommandButton>
      ))}
    </>
  );
}

/** What can be done with a version: give it a label of another one or a new one, or serve it alone. */
function Moves({ model, version }: { model: Model; version: Version }): JSX.Element {
  const { run } = useConsole();
  const [adding, setAdding] = useState(false);
  const others = model.versions.flatMap((each) => (each === version ? [] : each.labels));
  const move = (label: string): void => void run("label", { model: model.name, label, version: String(version.number) });
  const only = { model: model.name, policy: `specific=${version.number}` };
  return (
    <span class="moves">
      {others.map((label) => (
        <CommandButton
          key={label}
          id="label"
          class="link"
          args={{ model: model.name, label, version: String(version.number) }}
          onClick={() => move(label)}
        >
          ← {label}
        </CommandButton>
      ))}
      {adding ? (
        <input
          class="new"
          aria-label={t("newLabel")}
          placeholder={t("newLabel")}
          ref={(field) => field?.focus()}
          onBlur={() => setAdding(false)}
          onKeyDown={(event) => {
            const label = event.currentTarget.value.trim();
            if (event.key === "Enter" && label !== "") move(label);
            if (event.key === "Enter" || event.key === "Escape") setAdding(false);
          }}
        />
      ) : (
        <button type="button" class="link" onClick={() => setAdding(true)}>+ {t("label")}</button>
      )}
      {model.versions.length > 1 ? (
        <CommandButton id="policy" class="link" args={only} onClick={() => void run("policy", only)}>{t("serveOnly")}</CommandButton>
      ) : null}
    </span>
  );
}

function Chips({ versions }: { versions: readonly Version[] }): JSX.Element {
  const more = versions.length - CHIPS;
  return (
    <span class="chips">
      {versions.slice(0, more === 1 ? CHIPS + 1 : CHIPS).map((version) => {
        const { mark, word, tone } = stateOf(version);
        return (
          <span key={version.number} class={`chip ${tone} ${colour(version.number)}`} title={version.note || word}>
            <span class="mark" aria-hidden="true">{mark}</span>
            <b>{version.number}</b>
            {version.labels.map((label) => (
              <span key={label} class="label">{label}</span>
            ))}
            {version.state === "AVAILABLE" ? <span class="hidden">{word}</span> : <span class="word">{word}</span>}
          </span>
        );
      })}
      {more > 1 ? <span class="faint">+{more}</span> : null}
    </span>
  );
}

function VersionRow({ model, version }: { model: Model; version: Version }): JSX.Element {
  const { store } = useConsole();
  const { mark, word, tone } = stateOf(version);
  return (
    <tr class="version">
      <th scope="row" class="c-name" title={version.path}>
        <span class={`swatch ${colour(version.number)}`} aria-hidden="true" />
        {t("version")} <b>{version.number}</b>
      </th>
      <td class="c-chips">
        <span class={`state ${tone}`}>
          <span aria-hidden="true">{mark}</span> {word}
          {version.attempts > 1 ? `, ${t("attempt", { count: version.attempts })}` : ""}
        </span>
        {version.labels.map((label) => (
          <span key={label} class="label">{label}</span>
        ))}
        <span class="faint">{version.note}</span>
        {version.state === "AVAILABLE" && model.configured ? <Moves model={model} version={version} /> : null}
      </td>
      <td class="c-line">
        <Sparkline history={store.history} model={model.name} only={version.number} />
      </td>
      <td class="c-number">{rate(version.rate)}</td>
      <td class="c-number">{duration(version.p50_us)}</td>
      <td class="c-number">{duration(version.p99_us)}</td>
      <td class={version.errors > 0 ? "c-number c-errors bad" : "c-number c-errors faint"}>{count(version.errors)}</td>
      <td class="c-policy faint">
        {version.load_seconds === null ? "" : t("loadedIn", { time: duration(version.load_seconds * 1e6) })}
      </td>
    </tr>
  );
}
