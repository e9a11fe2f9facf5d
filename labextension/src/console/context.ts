// What every view gets: the state, the way to the engine, and the line that stands at the bottom.
import { createContext } from "preact";
import { useContext, useEffect, useState } from "preact/hooks";
import type { Link } from "./link";
import type { Store } from "./store";
import type { Command, Outcome } from "./types";

/** The line at the bottom: what a button does, said as a magic or as Python. */
export interface Shown {
  readonly command: Command;
  readonly args: Readonly<Record<string, string>>;
}

export interface Console {
  readonly store: Store;
  readonly link: Link;
  /** Runs a command of the table and lets its line stand at the bottom. */
  readonly run: (id: string, args?: Readonly<Record<string, string>>) => Promise<Outcome>;
  readonly show: (shown: Shown | null) => void;
  /** Opens a view, Try and Calls for a certain model. */
  readonly open: (view: string, model?: string) => void;
}

export const ConsoleContext = createContext<Console | null>(null);

export function useConsole(): Console {
  const found = useContext(ConsoleContext);
  if (found === null) throw new Error("not inside a console");
  return found;
}

/** Draws again whenever the store has something new. */
export function useStore(store: Store): void {
  const [, again] = useState(0);
  useEffect(() => store.listen(() => again((before) => before + 1)), [store]);
}
