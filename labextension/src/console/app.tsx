// The frame: the strip with addresses, the views, and the line at the bottom.
import type { JSX } from "preact";
import { useMemo, useRef, useState } from "preact/hooks";
import { ConsoleContext, type Console, type Shown, useConsole, useStore } from "./context";
import { bytes } from "./format";
import { line, type Language } from "./lines";
import type { Link } from "./link";
import { CommandButton, Copy, Empty, ProblemText } from "./parts";
import type { Store } from "./store";
import { t } from "./strings";
import { type Outcome, PROTOCOL, type Snapshot } from "./types";
import { Calls } from "./views/calls";
import { Config } from "./views/config";
import { Events } from "./views/events";
import { Models } from "./views/models";
import { Traffic } from "./views/traffic";
import { Try } from "./views/try";

const VIEWS = ["models", "try", "traffic", "config", "calls", "events"] as const;
type View = (typeof VIEWS)[number];

/** Commands that a view asks for by itself; nobody has clicked. */
const QUESTIONS: ReadonlySet<string> = new Set(["describe", "config"]);
/** Commands whose outcome their own view shows. */
const SHOWN_THERE: ReadonlySet<string> = new Set(["predict", "apply", "undo"]);

export function App({ store, link }: { store: Store; link: Link }): JSX.Element {
  useStore(store);
  const [view, setView] = useState<View>("models");
  const [model, setModel] = useState("");
  const [shown, setShown] = useState<Shown | null>(null);
  const [outcome, setOutcome] = useState<Outcome | null>(null);
  const value = useMemo<Console>(
    () => ({
      store,
      link,
      show: setShown,
      run: async (id, args = {}) => {
        const command = store.commands.find((each) => each.id === id);
        if (command !== undefined && !QUESTIONS.has(id)) setShown({ command, args });
        const result = await link.run(id, args);
        if (!QUESTIONS.has(id)) setOutcome(SHOWN_THERE.has(id) ? null : result);
        return result;
      },
      open: (wanted, ofModel) => {
        if (ofModel !== undefined) setModel(ofModel);
        setView(wanted as View);
      },
    }),
    [store, link],
  );
  const { snapshot } = store;
  return (
    <ConsoleContext.Provider value={value}>
      <div class="console" lang={document.documentElement.lang || undefined}>
        <Strip snapshot={snapshot} />
        <Notice snapshot={snapshot} />
        {snapshot !== null ? (
          <>
            <Tabs view={view} onSelect={setView} snapshot={snapshot} />
            <div class="view" role="tabpanel" id="panel" aria-labelledby={`tab-${view}`} tabIndex={0}>
              {view === "models" ? <Models snapshot={snapshot} /> : null}
              {view === "try" ? <Try snapshot={snapshot} model={model} onModel={setModel} /> : null}
              {view === "traffic" ? <Traffic snapshot={snapshot} /> : null}
              {view === "config" ? <Config snapshot={snapshot} /> : null}
              {view === "calls" ? <Calls snapshot={snapshot} model={model} onModel={setModel} /> : null}
              {view === "events" ? <Events snapshot={snapshot} /> : null}
            </div>
            <Foot shown={shown} outcome={outcome} />
          </>
        ) : null}
      </div>
    </ConsoleContext.Provider>
  );
}

function Strip({ snapshot }: { snapshot: Snapshot | null }): JSX.Element {
  const { store, run } = useConsole();
  const [asking, setAsking] = useState(false);
  const connected = store.connection === "open";
  const serving = connected && snapshot?.state === "serving";
  const word =
    store.connection === "connecting" ? "connecting" : !connected ? "lost" : snapshot?.state === "stopped" ? "stopped" : "serving";
  return (
    <header class="strip">
      <span class={`pulse ${serving ? "available" : connected ? "calm" : "failed"}`} role="status">
        <span aria-hidden="true">{serving ? "●" : "○"}</span> {t(word)}
      </span>
      {snapshot?.addresses.map((address) => (
        <span key={address.target} class="address">
          <span class="faint">{address.protocol}</span>
          <Copy text={address.target} what={address.target}>
            <code>{address.target.replace(/^http:\/\//, "")}</code>
          </Copy>
        </span>
      ))}
      {snapshot?.needs_token ? <span class="faint">{t("token")}</span> : null}
      {snapshot?.security ? <span class="faint">{snapshot.security}</span> : null}
      <span class="space" />
      {snapshot !== null ? (
        <span class="faint number">
          {snapshot.devices.join(", ")} · {bytes(snapshot.memory)}
        </span>
      ) : null}
      {asking && serving ? (
        <span class="sure" role="group">
          <span class="faint">{t("sure")}</span>
          <CommandButton id="stop" class="danger" onClick={() => void run("stop")} />
          <button type="button" class="button" ref={(button) => button?.focus()} onClick={() => setAsking(false)}>
            {t("keep")}
          </button>
        </span>
      ) : serving ? (
        <CommandButton id="stop" onClick={() => setAsking(true)} />
      ) : null}
    </header>
  );
}

/** What keeps the console from showing the truth, and what to do about it. */
function Notice({ snapshot }: { snapshot: Snapshot | null }): JSX.Element | null {
  const { store, link } = useConsole();
  const [token, setToken] = useState("");
  switch (store.connection) {
    case "refused":
      return (
        <Empty title={t("needToken")} next={t("needTokenNext")}>
          <form
            class="bar"
            onSubmit={(event) => {
              event.preventDefault();
              link.authorize?.(token);
            }}
          >
            <input
              type="password"
              autocomplete="off"
              aria-label={t("tokenField")}
              value={token}
              onInput={(event) => setToken(event.currentTarget.value)}
            />
            <button type="submit" class="button primary">{t("connect")}</button>
          </form>
        </Empty>
      );
    case "full":
      return <Empty title={t("full")} next={t("fullNext")} />;
    case "outdated":
      return (
        <Empty title={t("outdated")} next={t("outdatedNext", { engine: snapshot?.protocol ?? "–", page: PROTOCOL })} />
      );
    case "lost":
      return <Empty title={t("noConnection")} next={t(snapshot === null ? "noServerNext" : "noConnectionNext")} />;
    default:
      if (snapshot?.state === "stopped") return <Empty title={t("noServer")} next={t("noServerNext")} />;
      return snapshot !== null && snapshot.problems.length > 0 ? (
        <div class="notices">
          {snapshot.problems.map((problem) => (
            <ProblemText key={problem.message} problem={problem} />
          ))}
        </div>
      ) : null;
  }
}

function Tabs(props: { view: View; onSelect: (view: View) => void; snapshot: Snapshot }): JSX.Element {
  const list = useRef<HTMLDivElement>(null);
  const troubled = props.snapshot.models.filter((model) => model.problems.length > 0).length;
  const onKey = (event: KeyboardEvent): void => {
    const place = VIEWS.indexOf(props.view);
    const steps: Record<string, number> = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: VIEWS.length - 1 };
    const next = steps[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const chosen = (next + VIEWS.length) % VIEWS.length;
    props.onSelect(VIEWS[chosen] ?? "models");
    (list.current?.children[chosen] as HTMLElement | undefined)?.focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label={t("views")} ref={list} onKeyDown={onKey}>
      {VIEWS.map((view) => (
        <button
          key={view}
          type="button"
          role="tab"
          id={`tab-${view}`}
          aria-selected={view === props.view}
          aria-controls="panel"
          tabIndex={view === props.view ? 0 : -1}
          onClick={() => props.onSelect(view)}
        >
          {t(view)}
          {view === "models" ? <span class="count number">{props.snapshot.models.length}</span> : null}
          {view === "models" && troubled > 0 ? <span class="count number bad">✗ {troubled}</span> : null}
        </button>
      ))}
    </div>
  );
}

/** The line that does the same as the button that was pointed at or clicked last. */
function Foot({ shown, outcome }: { shown: Shown | null; outcome: Outcome | null }): JSX.Element {
  const { link } = useConsole();
  const [language, setLanguage] = useState<Language>("magic");
  const text = shown !== null ? line(shown.command, shown.args, language) : "";
  const { insert } = link;
  return (
    <footer class="foot">
      {outcome !== null && !outcome.ok ? (
        <ProblemText problem={{ code: outcome.code, message: outcome.message, hint: outcome.hint, where: "" }} />
      ) : null}
      <div class="same">
        {text === "" ? (
          <span class="faint">{t("hoverNext")}</span>
        ) : (
          <>
            <span class="faint">{t("sameAs")}</span>
            <code title={text}>{text.split("\n")[0]}{text.includes("\n") ? " …" : ""}</code>
            <Copy text={text} what={text.split("\n")[0] ?? ""} />
            {insert !== undefined ? (
              <button type="button" class="link" onClick={() => insert.call(link, text)}>{t("insert")}</button>
            ) : null}
          </>
        )}
        <span class="space" />
        {(["magic", "python"] as const).map((each) => (
          <button
            key={each}
            type="button"
            class="link"
            aria-pressed={language === each}
            onClick={() => setLanguage(each)}
          >
            {each === "magic" ? "%magic" : "Python"}
          </button>
        ))}
      </div>
    </footer>
  );
}
