/** Part of the format model: ids made of names. Source: RFC 9562, section 5.5. */
import { createHash } from "node:crypto";
import { trim } from "./line.ts";

/** Of RFC 9562, section 6.6. */
const URL_NAMESPACE = "6ba7b811-9dad-11d1-80b4-00c04fd430c8";
const NAMESPACE = nameUuid(URL_NAMESPACE, "urn:rollbook:invoice");

/** The id of an invoice whose register has none; undefined when a cell is blank. */
export function readNamed(cells: readonly string[]): string | undefined {
  const parts = cells.map(trim);
  return parts.includes("") ? undefined : nameUuid(NAMESPACE, parts.join("\u001f"));
}

function nameUuid(namespace: string, name: string): string {
  const space = Buffer.from(namespace.replaceAll("-", ""), "hex");
  const hash = createHash("sha1").update(space).update(name, "utf8").digest();
  hash[6] = ((hash[6] ?? 0) & 0x0f) | 0x50;
  hash[8] = ((hash[8] ?? 0) & 0x3f) | 0x80;
  return hash.toString("hex", 0, 16).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
