// The same request as code, for other clients.
import type { Calls, Snapshot } from "./types";

export interface Snippet {
  readonly name: string;
  readonly text: string;
}

export function snippets(snapshot: Snapshot, calls: Calls, args: Readonly<Record<string, string>>, body: string): Snippet[] {
  const rest = snapshot.addresses.find((address) => address.protocol === "REST")?.target;
  const grpc = snapshot.addresses.find((address) => address.protocol === "gRPC")?.target;
  const found = [{ name: "%magic", text: magic(args, body) }];
  if (rest !== undefined) {
    const url = `${rest}${calls.path}:predict`;
    found.push(
      { name: "curl", text: curl(url, calls.token, body) },
      { name: "requests", text: requests(url, calls.token, body) },
      { name: "urllib", text: urllib(url, calls.token, body) },
      { name: "fetch", text: fetching(url, calls.token, body) },
    );
  }
  if (grpc !== undefined) found.push({ name: "gRPC", text: remote(grpc, calls, args, snapshot.security !== "") });
  return found;
}

function magic(args: Readonly<Record<string, string>>, body: string): string {
  const which = args["version"] ? ` --version ${args["version"]}` : args["label"] ? ` --label ${shell(args["label"])}` : "";
  return `%%tfs_predict ${shell(args["model"] ?? "")}${which}\n${body}`;
}

function curl(url: string, token: string, body: string): string {
  const authorization = token ? ` \\\n  -H ${shell(`Authorization: ${token}`)}` : "";
  return `curl ${shell(url)}${authorization} \\\n  -d ${shell(body)}`;
}

function requests(url: string, token: string, body: string): string {
  const headers = token ? `, headers={"Authorization": ${quoted(token)}}` : "";
  return `import requests\n\nreply = requests.post(${quoted(url)}, data=${python(body)}${headers})\nreply.raise_for_status()\nprint(reply.json()["predictions"])`;
}

function urllib(url: string, token: string, body: string): string {
  const headers = token ? `, headers={"Authorization": ${quoted(token)}}` : "";
  return `import json\nimport urllib.request\n\nrequest = urllib.request.Request(${quoted(url)}, ${python(body)}.encode()${headers})\nwith urllib.request.urlopen(request) as reply:\n    print(json.load(reply))`;
}

function fetching(url: string, token: string, body: string): string {
  const headers = token ? `\n  headers: { Authorization: ${quoted(token)} },` : "";
  return `const reply = await fetch(${quoted(url)}, {\n  method: "POST",${headers}\n  body: ${quoted(body)},\n});\nconsole.log(await reply.json());`;
}

function remote(target: string, calls: Calls, args: Readonly<Record<string, string>>, secure: boolean): string {
  const inputs = calls.signatures[0]?.inputs ?? [];
  const which = args["version"]
    ? `\nrequest.model_spec.version.value = ${args["version"]}`
    : args["label"]
      ? `\nrequest.model_spec.version_label = ${quoted(args["label"])}`
      : "";
  const sizes = (shape: readonly (number | null)[] | null): string => (shape ?? []).map((size) => size ?? 1).join(", ");
  const tensors = inputs.map(
    (tensor) =>
      `request.inputs[${quoted(tensor.alias)}].CopyFrom(tf.make_tensor_proto(…, shape=[${sizes(tensor.shape)}]))  # ${tensor.dtype}`,
  );
  const metadata = calls.token ? `, metadata=[("authorization", ${quoted(calls.token)})]` : "";
  const channel = secure
    ? `grpc.secure_channel(${quoted(target)}, grpc.ssl_channel_credentials(open("ca.pem", "rb").read()))`
    : `grpc.insecure_channel(${quoted(target)})`;
  return [
    "import grpc",
    "import tensorflow as tf",
    "from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc",
    "",
    `stub = prediction_service_pb2_grpc.PredictionServiceStub(${channel})`,
    "request = predict_pb2.PredictRequest()",
    `request.model_spec.name = ${quoted(args["model"] ?? "")}${which}`,
    ...tensors,
    `print(stub.Predict(request, timeout=10${metadata}))`,
  ].join("\n");
}

function shell(text: string): string {
  return /^[\w.\/:@=+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** A string literal that JavaScript and Python read alike. */
function quoted(text: string): string {
  return JSON.stringify(text);
}

function python(body: string): string {
  return body.includes("'") || body.includes("\\") || body.includes("\n") ? quoted(body) : `'${body}'`;
}
