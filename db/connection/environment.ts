/** The environment of a process, handed on as a value: only the commands read the real one. */
import { homedir } from "node:os";

export type Environment = Readonly<Record<string, string | undefined>>;

/** The user's home folder, as libpq finds it. */
export function homeOf(environment: Environment): string {
  return environment.HOME || homedir();
}
