// Numbers as people read them, in few characters.

export function duration(micros: number | null): string {
  if (micros === null) return "–";
  if (micros < 1000) return `${micros.toFixed(0)} µs`;
  if (micros < 1e6) return `${(micros / 1000).toFixed(micros < 1e5 ? 1 : 0)} ms`;
  return `${(micros / 1e6).toFixed(1)} s`;
}

export function bytes(size: number): string {
  if (size < 1000) return `${size} B`;
  for (const [unit, value] of [["kB", 1e3], ["MB", 1e6]] as const) {
    if (size < value * 999.5) return `${(size / value).toFixed(size < value * 9.95 ? 1 : 0)} ${unit}`;
  }
  return `${(size / 1e9).toFixed(1)} GB`;
}

export function count(value: number): string {
  return value < 1e6 ? value.toLocaleString("en-US").replaceAll(",", "\u202f") : `${(value / 1e6).toFixed(1)}M`;
}

export function rate(value: number | null): string {
  if (value === null) return "–";
  return value > 0 && value < 10 ? value.toFixed(1) : count(Math.round(value));
}

export function clock(seconds: number): string {
  return new Date(seconds * 1000).toLocaleTimeString("en-GB");
}
