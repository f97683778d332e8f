// Before all tests: a folder for the datasets, and a word on what is left out. After them: the folder goes.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SKIPPED, havana } from "./datasets";

export default function setup(): () => void {
  havana();
  if (SKIPPED) console.log(SKIPPED);
  const folder = mkdtempSync(join(tmpdir(), "havana-e2e-"));
  process.env.HAVANA_E2E_FOLDER = folder;
  return () => rmSync(folder, { recursive: true, force: true });
}
