/** Which source read a drop, in the words of the ledger and of reports. */
import type { Load } from "../../db/schema.ts";
import { givenVenue } from "../drop/form.ts";
import type { FileSource } from "../sources/source.ts";
import type { ReadBy } from "./report.ts";

type Named = Pick<FileSource, "name" | "sha256">;

export function readBy(source: Named | undefined): ReadBy | null {
  return source === undefined ? null : { name: source.name, sha256: source.sha256.toString("hex") };
}

/** The same of an entry of the ledger. */
export function enteredSource({
  source,
  sourceSha256,
}: Pick<Load, "source" | "sourceSha256">): ReadBy | null {
  return readBy(
    source === null || sourceSha256 === null ? undefined : { name: source, sha256: sourceSha256 },
  );
}

/** As the ledger has it. */
export function columnsOfSource(
  source: Pick<FileSource, "name" | "sha256" | "form"> | undefined,
): Pick<Load, "source" | "sourceSha256" | "venueId"> {
  return {
    source: source?.name ?? null,
    sourceSha256: source?.sha256 ?? null,
    venueId: givenVenue(source?.form),
  };
}
