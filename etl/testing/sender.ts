/** For tests: a process that sends a file as slowly as the test wants. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { onTestFinished } from "vitest";

export interface Sender {
  readonly pid: number;
  /** Appends text to the file, which stays open. */
  readonly write: (text: string) => Promise<void>;
  /** Closes the file, and ends. */
  readonly end: () => Promise<void>;
}

/** Starts a process that opens a file to append to it, and keeps it open: for reading alone with `read`. */
export async function startSender(path: string, mode: "append" | "read" = "append"): Promise<Sender> {
  const open = mode === "append" ? 'exec 3>>"$1"' : 'exec 3<"$1"';
  const script = `${open}; echo ready; while IFS= read -r line; do printf '%b' "$line" >&3; echo written; done`;
  const child = spawn("bash", ["-c", script, "sender", path], { stdio: ["pipe", "pipe", "inherit"] });
  onTestFinished(() => {
    child.kill("SIGKILL");
  });
  await once(child.stdout, "data");
  return {
    pid: child.pid ?? 0,
    write: async (text) => {
      child.stdin.write(`${text.replaceAll("\n", "\\n")}\n`);
      await once(child.stdout, "data");
    },
    end: async () => {
      child.stdin.end();
      await once(child, "exit");
    },
  };
}
