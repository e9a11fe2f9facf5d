// How a model is called: addresses, token, signatures, and the same request for several clients.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { asArguments, Choice, chosen, isCalls, useCalls, type Which } from "../choice";
import { Copy, Empty, ProblemText } from "../parts";
import { type Snippet, snippets } from "../snippets";
import { t } from "../strings";
import type { Calls as CallsOf, Description, Snapshot, Tensor } from "../types";

interface Properties {
  readonly snapshot: Snapshot;
  readonly model: string;
  readonly onModel: (model: string) => void;
}

export function Calls({ snapshot, model, onModel }: Properties): JSX.Element {
  const name = chosen(snapshot, model);
  const [which, setWhich] = useState<Which>("");
  const calls = useCalls(snapshot, name, which);
  if (name === "") return <Empty title={t("noModels")} next={t("noModelsNext")} />;
  return (
    <div class="calls">
      <div class="bar">
        <Choice snapshot={snapshot} model={name} which={which} onModel={onModel} onWhich={setWhich} />
      </div>
      {isCalls(calls) ? <Details snapshot={snapshot} calls={calls} args={asArguments(name, which)} /> : null}
      {calls !== null && !isCalls(calls) ? <ProblemText problem={{ ...calls, where: "" }} /> : null}
    </div>
  );
}

function Details({ snapshot, calls, args }: { snapshot: Snapshot; calls: CallsOf; args: Record<string, string> }): JSX.Element {
  const rest = snapshot.addresses.find((address) => address.protocol === "REST")?.target;
  const grpc = snapshot.addresses.find((address) => address.protocol === "gRPC")?.target;
  return (
    <>
      <dl class="facts">
        {rest !== undefined ? <Fact name="REST" text={`${rest}${calls.path}:predict`} /> : null}
        {grpc !== undefined ? <Fact name="gRPC" text={grpc} /> : null}
        <TokenFact token={calls.token} />
        {calls.signatures.map((signature) => (
          <Signature key={signature.name} signature={signature} />
        ))}
      </dl>
      <Snippets found={snippets(snapshot, calls, args, calls.signatures[0]?.body || '{"instances": [...]}')} />
    </>
  );
}

function Fact({ name, text }: { name: string; text: string }): JSX.Element {
  return (
    <>
      <dt>{name}</dt>
      <dd>
        <code>{text}</code> <Copy text={text} what={name} />
      </dd>
    </>
  );
}

function TokenFact({ token }: { token: string }): JSX.Element {
  const [isShown, setShown] = useState(false);
  return (
    <>
      <dt>{t("tokenField")}</dt>
      <dd>
        {token === "" ? (
          <span class="faint">{t("tokenOff")}</span>
        ) : (
          <>
            <code>{isShown ? token : "••••••••••••"}</code> <Copy text={token} what={t("tokenField")} />
            <button type="button" class="link" aria-pressed={isShown} onClick={() => setShown(!isShown)}>
              {t(isShown ? "hide" : "show")}
            </button>
          </>
        )}
      </dd>
    </>
  );
}

function Signature({ signature }: { signature: Description }): JSX.Element {
  return (
    <>
      <dt title={signature.name}>{signature.name}</dt>
      <dd class="tensors">
        {signature.inputs.map((tensor) => <TensorText key={tensor.alias} tensor={tensor} />)}
        <span aria-label={t("returns")}>→</span>
        {signature.outputs.map((tensor) => <TensorText key={tensor.alias} tensor={tensor} />)}
      </dd>
    </>
  );
}

function TensorText({ tensor }: { tensor: Tensor }): JSX.Element {
  const shape = tensor.shape === null ? "…" : tensor.shape.map((size) => size ?? "?").join(", ");
  return (
    <code>
      {tensor.alias} <span class="faint">{tensor.dtype}[{shape}]</span>
    </code>
  );
}

export function Snippets({ found }: { found: readonly Snippet[] }): JSX.Element {
  const [name, setName] = useState("curl");
  const shown = found.find((snippet) => snippet.name === name) ?? found[0];
  return (
    <div class="snippets">
      <div class="bar">
        {found.map((snippet) => (
          <button
            key={snippet.name}
            type="button"
            class="link"
            aria-pressed={snippet === shown}
            onClick={() => setName(snippet.name)}
          >
            {snippet.name}
          </button>
        ))}
        <span class="space" />
        <Copy text={shown?.text ?? ""} what={shown?.name ?? ""} />
      </div>
      <pre tabIndex={0}>{clipped(shown?.text ?? "")}</pre>
    </div>
  );
}

/** Long bodies are copied whole and shown in part. */
function clipped(text: string): string {
  return text.length > 4000 ? `${text.slice(0, 4000)} …` : text;
}
