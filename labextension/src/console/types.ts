// Made by labextension/make_types.py from the dataclasses of tfs_notebook/console; not to be edited.

export const PROTOCOL = 1;

export interface Address {
  readonly protocol: string;
  readonly target: string;
}

export interface Argument {
  readonly name: string;
  readonly optional: boolean;
}

export interface Calls {
  readonly path: string;
  readonly token: string;
  readonly signatures: readonly Description[];
}

export interface Command {
  readonly id: string;
  readonly label: string;
  readonly magic: string;
  readonly python: string;
  readonly arguments: readonly Argument[];
  readonly confirm: boolean;
}

export interface Description {
  readonly name: string;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  readonly body: string;
}

export interface Model {
  readonly name: string;
  readonly configured: boolean;
  readonly place: string;
  readonly policy: string;
  readonly versions: readonly Version[];
  readonly problems: readonly Problem[];
}

export interface Moment {
  readonly time: number;
  readonly kind: string;
  readonly model: string;
  readonly version: number | null;
  readonly state: string;
  readonly message: string;
  readonly problem: Problem | null;
}

export interface Outcome {
  readonly ok: boolean;
  readonly value: unknown;
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

export interface Problem {
  readonly code: string;
  readonly message: string;
  readonly where: string;
  readonly hint: string;
}

export interface Reply {
  readonly status: number;
  readonly headers: readonly (readonly string[])[];
  readonly body: string;
  readonly size: number;
  readonly milliseconds: number;
}

export interface Snapshot {
  readonly protocol: number;
  readonly engine: string;
  readonly time: number;
  readonly state: string;
  readonly addresses: readonly Address[];
  readonly host: string;
  readonly local: boolean;
  readonly needs_token: boolean;
  readonly security: string;
  readonly devices: readonly string[];
  readonly memory: number;
  readonly models: readonly Model[];
  readonly problems: readonly Problem[];
  readonly events: readonly Moment[];
}

export interface Tensor {
  readonly alias: string;
  readonly dtype: string;
  readonly shape: readonly (number | null)[] | null;
}

export interface Version {
  readonly number: number;
  readonly state: string;
  readonly labels: readonly string[];
  readonly problem: Problem | null;
  readonly note: string;
  readonly path: string;
  readonly since: number;
  readonly attempts: number;
  readonly load_seconds: number | null;
  readonly requests: number;
  readonly errors: number;
  readonly rate: number | null;
  readonly p50_us: number | null;
  readonly p99_us: number | null;
}
