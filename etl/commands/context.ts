/** What a command gets: where it runs, and where its output and its exit code go. */
import { resolve } from "node:path";
import type { Environment } from "../../db/connection/environment.ts";
import { RollbookError } from "../../db/errors.ts";
import type { Streams } from "../output.ts";
import type { VerbKind } from "./kind.ts";

export const EXIT = { done: 0, failed: 1, usage: 2, rejected: 3 } as const;

export interface Context extends Streams {
  readonly environment: Environment;
  /** The folder that paths are relative to. */
  readonly folder: string;
  /** Standard input, which is not read before this is called. */
  readonly stdin: () => NodeJS.ReadStream;
  /** Runs something that has the terminal meanwhile: a Ctrl-C is then for that. */
  readonly lendTerminal: <T>(work: () => Promise<T>) => Promise<T>;
  /** Aborts at Ctrl-C, SIGTERM, or the end of the parent. */
  readonly signal: AbortSignal;
  /** Takes the kind of the verb that begins to run. */
  readonly begin: (kind: VerbKind) => void;
  /** Takes the exit code of the verb that ran. */
  readonly finish: (exitCode: number) => void;
  /** Ends this process, too, when its parent is gone. */
  readonly endWithParent: () => void;
}

export function resolvePath(context: Context, path: string): string {
  return resolve(context.folder, path);
}

export function usageError(message: string): RollbookError {
  return new RollbookError({ code: "usage", message });
}
