// The lines that two texts do not share, with a line around them.

export type Line = readonly ["+" | "-" | " ", string];

/** How to come from `before` to `after`: the longest common lines stay. */
export function difference(before: string, after: string): Line[] {
  const old = before.trimEnd().split("\n");
  const now = after.trimEnd().split("\n");
  if (old.length * now.length > 4_000_000) return [...old.map((line) => ["-", line] as const), ...now.map((line) => ["+", line] as const)];
  const common = Array.from({ length: old.length + 1 }, () => new Uint16Array(now.length + 1));
  for (let i = old.length - 1; i >= 0; i--) {
    for (let j = now.length - 1; j >= 0; j--) {
      common[i]![j] = old[i] === now[j] ? common[i + 1]![j + 1]! + 1 : Math.max(common[i + 1]![j]!, common[i]![j + 1]!);
    }
  }
  const lines: Line[] = [];
  let i = 0;
  let j = 0;
  while (i < old.length || j < now.length) {
    if (i < old.length && j < now.length && old[i] === now[j]) {
      lines.push([" ", old[i++]!]);
      j++;
    } else if (j >= now.length || (i < old.length && common[i + 1]![j]! >= common[i]![j + 1]!)) lines.push(["-", old[i++]!]);
    else lines.push(["+", now[j++]!]);
  }
  return lines.filter((_, place) => lines.slice(Math.max(place - 1, 0), place + 2).some(([sign]) => sign !== " "));
}
