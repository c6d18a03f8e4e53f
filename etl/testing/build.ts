/** vitest's globalSetup: builds dist/ once a run, so that tests which start `dist/rollbook.js` start what the sources are now. */
import { buildCommand } from "../../build.ts";

export async function setup(): Promise<void> {
  await buildCommand();
}
