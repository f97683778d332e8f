// The datasets that the tests look at: every capture there is, analyzed by the program under test, and a simulated one.

import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const REPOSITORY = resolve(fileURLToPath(import.meta.url), "../../../../../..");
const TESTDATA = process.env.HAVANA_TESTDATA;

export function havana(): string {
  const program = process.env.HAVANA_BIN;
  if (!program || !existsSync(program)) throw new Error("HAVANA_BIN must be the path of the `havana` program to test");
  return resolve(program);
}

/** Where datasets are made; harness/setup.ts makes and removes it. */
function folder(): string {
  const path = process.env.HAVANA_E2E_FOLDER;
  if (!path) throw new Error("HAVANA_E2E_FOLDER is not set: run the tests by `playwright test`");
  return path;
}

export interface Compared {
  compared: number;
  changes: {
    kind: string;
    who: string;
    a_ids: { vm_id: number | null; process_ids: number[] };
    b_ids: { vm_id: number | null; process_ids: number[] };
    unit: string;
    a: number;
    b: number;
    lo: number;
    hi: number;
    told: boolean;
    explained_by: number | null;
  }[];
}

export interface Capture {
  name: string;
  input: string;
}

function captures(root: string): Capture[] {
  const raw = join(root, "captures");
  const perf = [join(raw, "perf"), join(root, "recordings")];
  const found: Capture[] = [];
  for (const entry of readdirSync(raw, { withFileTypes: true })) {
    const input = join(raw, entry.name);
    if (entry.isDirectory() && readdirSync(input).some((file) => file.endsWith(".pt"))) found.push({ name: entry.name, input });
  }
  for (const recordings of perf.filter(existsSync)) {
    for (const file of readdirSync(recordings)) {
      if (file.endsWith(".perf.data")) found.push({ name: basename(file, ".perf.data"), input: join(recordings, file) });
    }
  }
  return found.sort((a, b) => a.name.localeCompare(b.name));
}

/** Every capture; without HAVANA_TESTDATA those that the repository ships. */
export const CAPTURES = captures(TESTDATA ?? join(REPOSITORY, "testdata"));
export const SKIPPED = TESTDATA ? undefined : "skipped: HAVANA_TESTDATA is not set, so only the captures in the repository's testdata/ are looked at";

/** The capture of this name, where it is at hand. */
export function capture(name: string): Capture | undefined {
  return CAPTURES.find((capture) => capture.name === name);
}

function once(name: string, make: (path: string) => void): string {
  const path = join(folder(), name);
  if (!existsSync(join(path, "manifest.json"))) {
    mkdirSync(folder(), { recursive: true });
    make(path);
  }
  return path;
}

function run(...args: string[]): void {
  execFileSync(havana(), args, { stdio: ["ignore", "ignore", "pipe"] });
}

export function analyzed(capture: Capture): string {
  return once(`${capture.name}.havana`, (path) => run("analyze", capture.input, "-q", "-f", "-o", path));
}

/** A scenario of `havana simulate`, analyzed; the truth of it, where nobody looked for findings. */
export function scenario(name: string): { dataset: string; truth: string } {
  const raw = join(folder(), `${name}.raw`);
  const dataset = once(`${name}.havana`, (path) => {
    run("simulate", name, "-f", "-o", raw);
    run("analyze", raw, "-q", "-f", "-o", path);
  });
  return { dataset, truth: join(raw, "truth.havana") };
}

/** The same as the kernel names it, with other chance. */
export function named(name: string, seed: number): string {
  return once(`${name}-${seed}.havana`, (path) => {
    const raw = join(folder(), `${name}-${seed}.raw`);
    run("simulate", name, "--form", "perf", "--seed", String(seed), "--no-truth", "-f", "-o", raw);
    run("analyze", join(raw, "perf.data"), "-q", "-f", "-o", path);
  });
}

/** What `havana diff --json` says. */
export function diff(args: string[]): Compared {
  return JSON.parse(execFileSync(havana(), ["diff", ...args, "--json"], { maxBuffer: 1 << 28 }).toString()) as Compared;
}

/** One process of a VM runs away and starves the other VM. */
export const noisyNeighbour = () => scenario("noisy-neighbour");

/** A copy to be damaged. */
export function copyOf(dataset: string, name: string): string {
  const path = join(folder(), name);
  rmSync(path, { recursive: true, force: true });
  cpSync(dataset, path, { recursive: true });
  return path;
}

/** What `analyze -f` does to a dataset that somebody looks at: another stands in its place. */
export function replace(dataset: string, by: string): void {
  rmSync(dataset, { recursive: true });
  cpSync(by, dataset, { recursive: true });
}
