// A request by hand: made from the signature, drawn or typed, sent by REST, its reply as a picture and as JSON.
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { asArguments, Choice, chosen, isCalls, useCalls, type Which } from "../choice";
import { useConsole } from "../context";
import { bytes, clock, duration } from "../format";
import { fault, pretty } from "../json";
import { Pad, pictureSize, shaped } from "../pad";
import { CommandButton, Empty, ProblemText } from "../parts";
import { snippets } from "../snippets";
import { t } from "../strings";
import type { Description, Outcome, Reply, Snapshot } from "../types";
import { Snippets } from "./calls";

interface Call {
  readonly time: number;
  readonly args: Readonly<Record<string, string>>;
  readonly outcome: Outcome;
}

const KEPT = 20;
const LONGEST = 8_000_000;
const SHOWN = 20_000;

export function Try({ snapshot, model, onModel }: { snapshot: Snapshot; model: string; onModel: (model: string) => void }): JSX.Element {
  const name = chosen(snapshot, model);
  const { run } = useConsole();
  const [which, setWhich] = useState<Which>("");
  const [signatureName, setSignatureName] = useState("");
  const [body, setBody] = useState("");
  const [drawing, setDrawing] = useState(false);
  const [calls, setCalls] = useState<readonly Call[]>([]);
  const [shown, setShown] = useState<Call | null>(null);
  const [busy, setBusy] = useState(false);
  const touched = useRef(false);
  const info = useCalls(snapshot, name, which);
  const known = isCalls(info) ? info : null;
  const signature =
    known?.signatures.find((each) => each.name === signatureName) ??
    known?.signatures.find((each) => each.name === "serving_default") ??
    known?.signatures[0];
  const size = signature !== undefined && signature.inputs.length === 1 ? pictureSize(signature.inputs[0]) : null;
  useEffect(() => {
    touched.current = false;
    setDrawing(size !== null);
  }, [name, signature?.name]);
  useEffect(() => {
    if (!touched.current && signature !== undefined) setBody(signature.body);
  }, [signature?.body, name]);
  if (name === "") return <Empty title={t("noModels")} next={t("noModelsNext")} />;

  const wrong = body.length > LONGEST ? null : fault(body);
  const args = {
    ...asArguments(name, which),
    signature: signature === undefined || signature.name === "serving_default" ? "" : signature.name,
    body: oneLine(body),
  };
  const send = async (): Promise<void> => {
    if (busy || wrong !== null || body.length > LONGEST) return;
    setBusy(true);
    const outcome = await run("predict", args);
    const call = { time: Date.now() / 1000, args, outcome };
    setBusy(false);
    setShown(call);
    setCalls((before) => [call, ...before].slice(0, KEPT));
  };
  const drawn = (values: number[]): void => {
    if (signature === undefined || signature.inputs[0] === undefined || values.every((value) => value === 0)) return;
    touched.current = true;
    setBody(JSON.stringify({ instances: [shaped(values, signature.inputs[0])] }));
  };
  return (
    <div class="try">
      <div class="ask">
        <div class="bar">
          <Choice snapshot={snapshot} model={name} which={which} onModel={onModel} onWhich={setWhich} />
          {known !== null && known.signatures.length > 1 ? (
            <label class="field">
              <span>{t("signature")}</span>
              <select value={signature?.name} onChange={(event) => setSignatureName(event.currentTarget.value)}>
                {known.signatures.map((each) => (
                  <option key={each.name} value={each.name}>{each.name}</option>
                ))}
              </select>
            </label>
          ) : null}
          {size !== null ? (
            <span class="segments" role="group" aria-label={t("input")}>
              <button type="button" aria-pressed={drawing} onClick={() => setDrawing(true)}>{t("draw")}</button>
              <button type="button" aria-pressed={!drawing} onClick={() => setDrawing(false)}>JSON</button>
            </span>
          ) : null}
        </div>
        {info !== null && !isCalls(info) ? <ProblemText problem={{ ...info, where: "" }} /> : null}
        {drawing && size !== null ? (
          <Pad key={`${name}/${size.join()}`} size={size} onChange={drawn} />
        ) : (
          <Body body={body} onBody={(text) => { touched.current = true; setBody(text); }} onSend={() => void send()} />
        )}
        <div class="bar">
          <CommandButton id="predict" class="primary" args={args} busy={busy || wrong !== null || body.length > LONGEST} onClick={() => void send()} />
          <span class="faint">{signature !== undefined ? takes(signature) : ""}</span>
        </div>
      </div>
      <div class="answer" aria-live="polite">
        {shown === null ? <Empty title={t("noReply")} next={t("noReplyNext")} /> : <Answer call={shown} />}
        {calls.length > 1 ? (
          <details class="recent">
            <summary>{t("recent")} <span class="faint number">{calls.length}</span></summary>
            <ol>
              {calls.map((call) => (
                <li key={call.time}>
                  <button type="button" class="link" onClick={() => { setShown(call); touched.current = true; setBody(call.args["body"] ?? ""); setDrawing(false); }}>
                    {clock(call.time)} {call.args["model"]} {call.args["version"] || call.args["label"]} · {status(call.outcome)}
                  </button>
                </li>
              ))}
            </ol>
          </details>
        ) : null}
      </div>
      {known !== null ? <Snippets found={snippets(snapshot, known, args, args.body)} /> : null}
    </div>
  );
}

function Body({ body, onBody, onSend }: { body: string; onBody: (text: string) => void; onSend: () => void }): JSX.Element {
  const wrong = body.length > LONGEST ? null : fault(body);
  return (
    <>
      <textarea
        class="body"
        spellcheck={false}
        aria-label={t("bodyOf")}
        aria-invalid={wrong !== null}
        aria-describedby="body-fault"
        rows={9}
        value={body}
        onInput={(event) => onBody(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
            event.preventDefault();
            onSend();
          }
        }}
      />
      <div id="body-fault" class="fault" role="status">
        {body.length > LONGEST
          ? t("tooLarge", { size: bytes(body.length) })
          : wrong !== null
            ? `✗ ${t("notJson", { ...wrong })}`
            : ""}
      </div>
    </>
  );
}

function Answer({ call }: { call: Call }): JSX.Element {
  const { outcome } = call;
  if (!outcome.ok) return <ProblemText problem={{ ...outcome, where: "" }} />;
  const reply = outcome.value as Reply;
  const text = pretty(reply.body);
  const scores = reply.status === 200 ? scoresOf(reply.body) : null;
  return (
    <>
      <div class="bar">
        <span class={reply.status === 200 ? "state available" : "state failed"}>
          {reply.status === 200 ? "●" : "✗"} {reply.status}
        </span>
        <span class="number">{duration(reply.milliseconds * 1000)}</span>
        <span class="faint number">{bytes(reply.size)}</span>
        <span class="space" />
        <span class="faint">
          {call.args["model"]} {call.args["version"] || call.args["label"] || t("newest")} · {clock(call.time)}
        </span>
      </div>
      {scores !== null ? <Bars scores={scores} /> : null}
      <pre class="reply" tabIndex={0} aria-label={t("reply")}>
        {text.slice(0, SHOWN)}
        {text.length > SHOWN || reply.size > reply.body.length ? " …" : ""}
      </pre>
      <details>
        <summary>{t("headers")}</summary>
        <pre tabIndex={0}>{reply.headers.map(([key, value]) => `${key}: ${value}`).join("\n")}</pre>
      </details>
    </>
  );
}

/** The class scores of the only example of a reply, null when it holds something else. */
export function scoresOf(body: string): number[] | null {
  try {
    const { predictions } = JSON.parse(body) as { predictions?: unknown };
    const first = Array.isArray(predictions) && predictions.length === 1 ? (predictions[0] as unknown) : null;
    const numbers = Array.isArray(first) && first.length > 1 && first.length <= 10_000 && first.every((each) => typeof each === "number");
    if (!numbers) return null;
    const scores = first as number[];
    const sum = scores.reduce((all, each) => all + each, 0);
    return scores.every((each) => each >= 0 && each <= 1) && Math.abs(sum - 1) < 0.01 ? scores : null;
  } catch {
    return null;
  }
}

function Bars({ scores }: { scores: readonly number[] }): JSX.Element {
  const best = scores.map((score, index) => ({ score, index })).sort((one, other) => other.score - one.score).slice(0, 5);
  return (
    <ol class="scores">
      {best.map(({ score, index }, place) => (
        <li key={index} class={place === 0 ? "winner" : ""}>
          <span class="name">{index}</span>
          <svg aria-hidden="true" viewBox="0 0 100 10" preserveAspectRatio="none"><rect width={score * 100} height="10" /></svg>
          <span class="number">{(score * 100).toFixed(1)} %</span>
        </li>
      ))}
    </ol>
  );
}

function takes(signature: Description): string {
  return signature.inputs
    .map((tensor) => `${tensor.alias} ${tensor.dtype}[${tensor.shape === null ? "…" : tensor.shape.map((size) => size ?? "?").join(", ")}]`)
    .join(", ");
}

function status(outcome: Outcome): string {
  if (!outcome.ok) return outcome.code;
  const reply = outcome.value as Reply;
  return `${reply.status} · ${duration(reply.milliseconds * 1000)}`;
}

/** The body without blanks between values, which is how it stands in a line of code. */
function oneLine(body: string): string {
  try {
    return body.includes("\n") && body.length < LONGEST ? JSON.stringify(JSON.parse(body)) : body;
  } catch {
    return body;
  }
}
