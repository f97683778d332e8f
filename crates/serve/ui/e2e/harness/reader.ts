// The other end of reader.py: what the dataset says, read by somebody else.

import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";

const PROGRAM = resolve(fileURLToPath(import.meta.url), "../../reader.py");

export type Kind = "cpu" | "vcpu" | "vm" | "process" | "node";

/** state, evidence, by_kind, by_id, and which part of the whole they had */
export type Share = [state: string, evidence: string, byKind: string, byId: number, part: number];

export interface Row {
  start: number;
  end: number;
  cpu: number;
  vcpu: number;
  process: number;
  state: string;
  evidence: string;
  by_kind: string;
  by_id: number;
}

export interface Track {
  kind: Kind;
  id: number;
  states: Record<string, number>;
  rows: number;
  lanes: number;
}

export type Sum = [kind: Kind, id: number, state: string, evidence: string, byKind: string, byId: number, ticks: number, count: number];

export interface Exits {
  count: number;
  histogram: [vm: number, reason: number, latencyClass: number, count: number, ticks: number][];
  slowest: { exit_id: number; vm: number; exit: number; reentry: number }[];
}

export interface Finding {
  finding_id: number;
  kind: string;
  severity: string;
  title: string;
  sure: number;
  vm_id: number | null;
  vcpu_id: number | null;
  process_id: number | null;
  start: number | null;
  end: number | null;
  spans: { cpu: number | null; vcpu_id: number | null; process_id: number | null; start: number; end: number }[];
}

export class Reader {
  private readonly child: ChildProcess;
  private readonly waiting: { resolve: (value: unknown) => void; reject: (error: Error) => void }[] = [];

  constructor(dataset: string) {
    this.child = spawn(process.env.HAVANA_PYTHON ?? "python3", [PROGRAM, dataset], { stdio: ["pipe", "pipe", "inherit"] });
    createInterface(this.child.stdout!).on("line", (line) => {
      const answer = JSON.parse(line) as { ok?: unknown; error?: string };
      const asked = this.waiting.shift()!;
      if (answer.error === undefined) asked.resolve(answer.ok);
      else asked.reject(new Error(`reader.py: ${answer.error}`));
    });
    const gone = () => this.waiting.splice(0).forEach(({ reject }) => reject(new Error("reader.py ended (HAVANA_PYTHON needs pyarrow and numpy)")));
    this.child.on("exit", gone);
    this.child.on("error", gone);
    this.child.stdin!.on("error", gone);
  }

  stop(): void {
    this.child.kill();
  }

  private ask<T>(request: object): Promise<T> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ resolve: resolve as (value: unknown) => void, reject });
      this.child.stdin!.write(`${JSON.stringify(request)}\n`);
    });
  }

  about(): Promise<{ span: number; first: string; tsc_hz: number | null; exits: number }> {
    return this.ask({ do: "about" });
  }
  /** null where nobody looked for any. */
  findings(): Promise<Finding[] | null> {
    return this.ask({ do: "findings" });
  }
  tracks(): Promise<Track[]> {
    return this.ask({ do: "tracks" });
  }
  processes(): Promise<{ process_id: number; vm_id: number | null; cr3: string; name: string | null }[]> {
    return this.ask({ do: "processes" });
  }
  /** For each span [kind, id, from, to]: who had which part of it, in the order in which a track stacks them. */
  shares(spans: [Kind, number, number, number][]): Promise<Share[][]> {
    return this.ask({ do: "shares", spans });
  }
  at(places: [Kind, number, number][]): Promise<Row[][]> {
    return this.ask({ do: "at", places });
  }
  step(kind: Kind, id: number, t: number, to: "next" | "previous"): Promise<Row | null> {
    return this.ask({ do: "step", kind, id, t, to });
  }
  sums(from: number, to: number): Promise<Sum[]> {
    return this.ask({ do: "sums", from, to });
  }
  matrix(from: number, to: number): Promise<[victim: number, byKind: string, byId: number, ticks: number][]> {
    return this.ask({ do: "matrix", from, to });
  }
  stolen(vm: number, by_kind: string, by_id: number, from: number, to: number, most: number): Promise<[vcpu: number, start: number, end: number][]> {
    return this.ask({ do: "stolen", vm, by_kind, by_id, from, to, most });
  }
  rate(bins: [number, number][]): Promise<[start: number, end: number, vm: number, count: number][]> {
    return this.ask({ do: "rate", bins });
  }
  /** Not of the dataset: the rows of an Arrow stream, as pyarrow reads it. */
  arrow(stream: Buffer): Promise<Record<string, number>[]> {
    return this.ask({ do: "arrow", stream: stream.toString("base64") });
  }
  exits(from: number, to: number, slowest = 50): Promise<Exits> {
    return this.ask({ do: "exits", from, to, slowest });
  }
}
