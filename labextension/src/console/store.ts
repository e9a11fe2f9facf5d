// What is known of the engine, put together from the messages of a link.
import { History } from "./history";
import { PROTOCOL, type Command, type Model, type Moment, type Snapshot } from "./types";

/** How the link to the engine stands. */
export type Connection = "connecting" | "open" | "lost" | "refused" | "full" | "outdated";

interface StateMessage {
  readonly type: "state";
  readonly snapshot: Snapshot;
  readonly commands: readonly Command[];
}
type ChangeMessage = { readonly type: "change"; readonly gone?: readonly string[] } & Partial<Snapshot>;
export type Message = StateMessage | ChangeMessage;

const EVENTS_KEPT = 200;

export class Store {
  connection: Connection = "connecting";
  snapshot: Snapshot | null = null;
  commands: readonly Command[] = [];
  readonly history = new History();
  private readonly listeners = new Set<() => void>();

  /** Calls `listener` after every change; the result ends that. */
  listen(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  connect(connection: Connection): void {
    if (this.connection !== "outdated") this.connection = connection;
    this.tell();
  }

  receive(message: Message): void {
    if (message.type === "state") {
      if (message.snapshot.protocol !== PROTOCOL) this.connection = "outdated";
      this.commands = message.commands;
      this.snapshot = message.snapshot;
    } else if (this.snapshot !== null) {
      this.snapshot = merged(this.snapshot, message);
    }
    if (this.snapshot !== null) this.history.add(this.snapshot);
    this.tell();
  }

  private tell(): void {
    for (const listener of this.listeners) listener();
  }
}

function merged(before: Snapshot, change: ChangeMessage): Snapshot {
  const { type: _, gone, models, events, ...fields } = change;
  return {
    ...before,
    ...fields,
    models: models === undefined ? before.models : mergedModels(before.models, models, gone ?? []),
    events: events === undefined ? before.events : mergedEvents(before.events, events),
  };
}

function mergedModels(before: readonly Model[], changed: readonly Model[], gone: readonly string[]): readonly Model[] {
  const models = new Map(before.map((model) => [model.name, model]));
  for (const name of gone) models.delete(name);
  for (const model of changed) models.set(model.name, model);
  return [...models.values()].sort(
    (one, other) => Number(other.configured) - Number(one.configured) || (one.name < other.name ? -1 : 1),
  );
}

function mergedEvents(before: readonly Moment[], added: readonly Moment[]): readonly Moment[] {
  return [...before, ...added].slice(-EVENTS_KEPT);
}
