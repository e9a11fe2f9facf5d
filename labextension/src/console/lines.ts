// The line that does the same as a click: `{name}` is an argument as the language writes it, `[…]` goes where it is empty.
import type { Command } from "./types";

export type Language = "magic" | "python";
type Arguments = Readonly<Record<string, string>>;

export function line(command: Command, args: Arguments, language: Language): string {
  const quote = language === "magic" ? magicWord : pythonWord;
  const filled = (text: string): string =>
    text.replace(/\{(\w+)\}/g, (_, name: string) => quote(name, args[name === "inputs" ? "body" : name] ?? ""));
  const optional = command[language].replace(/\[([^[\]]*\{(\w+)\}[^[\]]*)\]/g, (_, part: string, name: string) =>
    args[name] ? part : "",
  );
  return filled(optional);
}

function magicWord(name: string, value: string): string {
  if (name === "body" || name === "text" || /^[\p{L}\p{N}_.\/:@=+-]+$/u.test(value)) return value;
  return `'${value.replaceAll("'", `'"'"'`)}'`;
}

function pythonWord(name: string, value: string): string {
  if (name === "version") return value;
  if (name === "policy") return value === "all" ? "all=True" : value.replace(/^specific=(.*)$/, "specific=[$1]");
  if (name === "text") return "text";
  if (name === "inputs" || name === "body") return "inputs";
  return JSON.stringify(value);
}
