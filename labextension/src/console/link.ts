// How a page reaches the engine. A host has its own link; the console knows only this.
import type { Message, Store } from "./store";
import type { Outcome } from "./types";

export interface Link {
  /** Runs a command of the table with its arguments, all of them texts. Never rejects. */
  run(op: string, args: Readonly<Record<string, string>>): Promise<Outcome>;
  /** Tries again with another token. */
  authorize?(token: string): void;
  /** Puts a line into a new cell, where there are cells. */
  insert?(line: string): void;
}

export const LOST: Outcome = { ok: false, value: null, code: "UNAVAILABLE", message: "The connection was lost", hint: "" };

/** The questions that have no answer yet, by id. */
export class Pending {
  private readonly waiting = new Map<number, (outcome: Outcome) => void>();
  private next = 0;

  ask(send: (id: number) => void): Promise<Outcome> {
    const id = this.next++;
    return new Promise((resolve) => {
      this.waiting.set(id, resolve);
      send(id);
    });
  }

  answer(id: number, outcome: Outcome): void {
    this.waiting.get(id)?.(outcome);
    this.waiting.delete(id);
  }

  giveUp(outcome: Outcome): void {
    for (const resolve of this.waiting.values()) resolve(outcome);
    this.waiting.clear();
  }
}

/** What anywidget hands over of a model: state goes one way on it, messages both. */
export interface WidgetModel {
  get(name: string): unknown;
  send(content: unknown): void;
  on(name: string, callback: (content: unknown) => void): void;
  off(name: string, callback: (content: unknown) => void): void;
  readonly widget_manager: { get_model(id: string): Promise<WidgetModel> };
}

const HELLO_MS = 30_000;

/** The two models of a widget: one tells the state, the other takes commands. */
export class WidgetLink implements Link {
  private readonly pending = new Pending();
  private timer: ReturnType<typeof setInterval> | undefined;
  private readonly hear = (content: unknown): void => {
    const text = (content as { message?: unknown }).message;
    if (typeof text !== "string") return;
    const message = JSON.parse(text) as WebMessage;
    if (message.type === "reply") {
      this.pending.answer(message.id, message.outcome);
      return;
    }
    if (this.store.connection !== "open") this.store.connect("open");
    this.store.receive(message);
  };

  constructor(
    private readonly state: WidgetModel,
    private readonly commands: WidgetModel,
    private readonly store: Store,
  ) {
    state.on("msg:custom", this.hear);
    commands.on("msg:custom", this.hear);
    commands.send({ op: "hello", afresh: true });
    this.timer = setInterval(() => commands.send({ op: "hello" }), HELLO_MS);
  }

  run(op: string, args: Readonly<Record<string, string>>): Promise<Outcome> {
    return this.pending.ask((id) => this.commands.send({ id, op, arguments: args }));
  }

  close(): void {
    clearInterval(this.timer);
    this.state.off("msg:custom", this.hear);
    this.commands.off("msg:custom", this.hear);
    this.pending.giveUp(LOST);
  }
}

type WebMessage = Message | { readonly type: "reply"; readonly id: number; readonly outcome: Outcome };

const CLOSED = { 4401: "refused", 4429: "full" } as const;
const LONGEST_WAIT = 8_000;

/** The WebSocket of the web page; comes back by itself when it drops. */
export class WebLink implements Link {
  private socket: WebSocket | null = null;
  private readonly pending = new Pending();
  private wait = 500;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly url: string,
    private token: string,
    private readonly store: Store,
  ) {
    this.connect();
  }

  run(op: string, args: Readonly<Record<string, string>>): Promise<Outcome> {
    return this.pending.ask((id) => {
      if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ id, op, arguments: args }));
      else this.pending.answer(id, LOST);
    });
  }

  authorize(token: string): void {
    this.token = token;
    this.connect();
  }

  close(): void {
    clearTimeout(this.timer);
    const socket = this.socket;
    this.socket = null;
    socket?.close();
  }

  private connect(): void {
    clearTimeout(this.timer);
    const socket = new WebSocket(this.url);
    this.socket = socket;
    socket.onopen = () => socket.send(JSON.stringify({ op: "hello", token: this.token }));
    socket.onmessage = (event) => this.receive(JSON.parse(String(event.data)) as WebMessage);
    socket.onclose = (event) => {
      if (this.socket === socket) this.dropped(event.code);
    };
  }

  private receive(message: WebMessage): void {
    if (message.type === "reply") {
      this.pending.answer(message.id, message.outcome);
      return;
    }
    this.wait = 500;
    if (this.store.connection !== "open") this.store.connect("open");
    this.store.receive(message);
  }

  private dropped(code: number): void {
    this.pending.giveUp(LOST);
    const told = CLOSED[code as keyof typeof CLOSED];
    this.store.connect(told ?? "lost");
    if (told === "refused") return;
    this.timer = setTimeout(() => this.connect(), this.wait);
    this.wait = Math.min(this.wait * 2, LONGEST_WAIT);
  }
}
