// What the last ten minutes looked like, kept by the page itself: the engine counts, and remembers nothing for it.
import type { Snapshot, Version } from "./types";

export interface Point {
  readonly rate: number;
  readonly errors: number;
  readonly p50: number | null;
  readonly p99: number | null;
}

const KEPT = 600;

export class History {
  /** Seconds since the epoch at which there are points, one a second. */
  readonly times: number[] = [];
  private readonly points = new Map<string, Map<number, (Point | undefined)[]>>();
  private errors = new Map<string, number>();

  add(snapshot: Snapshot): void {
    const last = this.times.at(-1);
    if (last !== undefined && snapshot.time - last < 0.9) return;
    this.times.push(snapshot.time);
    const errors = new Map<string, number>();
    for (const model of snapshot.models) {
      for (const version of model.versions) {
        const key = `${version.number}/${model.name}`;
        errors.set(key, version.errors);
        const before = this.errors.get(key) ?? version.errors;
        this.line(model.name, version.number)[this.times.length - 1] = point(version, before);
      }
    }
    this.errors = errors;
    if (this.times.length > KEPT) this.shift();
  }

  /** The versions of a model that there are points of, by number. */
  versions(model: string): number[] {
    return [...(this.points.get(model)?.keys() ?? [])].sort((one, other) => one - other);
  }

  /** The points of a version at the last `count` times, undefined where it was not there. */
  last(model: string, version: number, count: number): (Point | undefined)[] {
    const line = this.points.get(model)?.get(version) ?? [];
    const length = this.times.length;
    return Array.from({ length: Math.min(count, length) }, (_, index) => line[length - Math.min(count, length) + index]);
  }

  private line(model: string, version: number): (Point | undefined)[] {
    const versions = this.points.get(model) ?? new Map<number, (Point | undefined)[]>();
    this.points.set(model, versions);
    const line = versions.get(version) ?? [];
    versions.set(version, line);
    return line;
  }

  private shift(): void {
    this.times.shift();
    for (const [model, versions] of this.points) {
      for (const [version, line] of versions) {
        line.shift();
        if (line.every((each) => each === undefined)) versions.delete(version);
      }
      if (versions.size === 0) this.points.delete(model);
    }
  }
}

function point(version: Version, errorsBefore: number): Point {
  const errors = Math.max(version.errors - errorsBefore, 0);
  return { rate: version.rate ?? 0, errors, p50: version.p50_us, p99: version.p99_us };
}
