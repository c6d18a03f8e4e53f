/** Ids for registers that number their receipts. */
import { v5 } from "uuid";

/**
 * The namespace of the ids that Rollbook makes. It is the name-based UUID of `urn:rollbook:invoice` in the
 * namespace of URLs. Source: RFC 9562, section 6.5.
 */
export const INVOICE_NAMESPACE = v5("urn:rollbook:invoice", v5.URL);

/** What stands between the parts of a name. No cell can hold it. */
export const PART_SEPARATOR = "\u001f";

/** The name-based UUID, version 5, of a name: the same everywhere and always. */
export function makeUuid(name: string): string {
  return v5(name, INVOICE_NAMESPACE);
}
