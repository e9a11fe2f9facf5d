// What is wrong with a JSON text, and where: the message of JSON.parse differs from browser to browser.
export interface Fault {
  readonly line: number;
  readonly column: number;
  readonly message: string;
}

/** The first fault of `text`, null when it is JSON. */
export function fault(text: string): Fault | null {
  try {
    JSON.parse(text);
    return null;
  } catch (error) {
    const message = String((error as Error).message);
    const place = position(text, message);
    const before = text.slice(0, place).split("\n");
    const short = message.replace(/^JSON\.parse: /, "").replace(/,? *(\.\.\.)?".*$|( in JSON)? at (position|line).*$/s, "");
    return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1, message: short };
  }
}

function position(text: string, message: string): number {
  const at = /position (\d+)/.exec(message);
  if (at !== null) return Number(at[1]);
  const place = /line (\d+) column (\d+)/.exec(message);
  if (place !== null) {
    const lines = text.split("\n").slice(0, Number(place[1]) - 1);
    return lines.reduce((sum, each) => sum + each.length + 1, 0) + Number(place[2]) - 1;
  }
  return text.length;
}

/** `text` with a line for each row of numbers, so that a picture or matrix can be read. */
export function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2).replace(/\[\s+([-\d.eE,\s]+?)\s+\]/g, (_, inner: string) => `[${inner.replace(/\s+/g, " ")}]`);
  } catch {
    return text;
  }
}
