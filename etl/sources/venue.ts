/** Checks the id of a venue that a source gives, and no cell. */
import { ROW } from "../drop/row.ts";
import { checkText } from "../drop/value/text.ts";

/** Why a text is no venue's id, with the remedy; undefined for one that is. */
export function checkVenue(text: string): string | undefined {
  const reason = checkText(text, ROW.venue_id);
  if (reason === "missing_venue") return "is a blank venue: write its id";
  if (reason === "venue_too_long") return `is a venue of more than ${ROW.venue_id.maxLength} characters`;
  // As in the cells of a file.
  if (/(?!\t)[\p{Cc}\p{Cs}]/u.test(text)) return "is a venue with control characters";
  return undefined;
}
