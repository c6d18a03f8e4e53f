/** Archived files that are not as the ledger has them, for people. */
import { printable } from "../escape.ts";
import type { Finding } from "../inbox/check.ts";

export function describeFinding({ file: path, outcome, loadId, movedTo, error }: Finding): string {
  const file = printable(path);
  switch (outcome) {
    case "returned": {
      const load = loadId === null ? "" : ` (load ${loadId})`;
      return (
        `warning: ${file} is not as it was loaded${load}, so it went back to the inbox, now ${printable(movedTo ?? "")}, ` +
        "and is loaded again. If its sender pauses in the middle of a file, set a longer --settle, or let it rename files when they are whole."
      );
    }
    case "unknown":
      return `${file}: the ledger knows neither its name nor its bytes, or it is empty, so it stays.`;
    case "undone":
      return `${file}: load ${loadId} read it, and was undone. It stays; whoever loads all of the archive again loads it, too, so take it out if it must not come in.`;
    case "failed":
      return `warning: ${file} could not be checked: ${printable(error?.message ?? "")}`;
  }
}
