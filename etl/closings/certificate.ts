/**
 * What a closing certifies, and its digest. The digest is the SHA-256 of a text in UTF-8: a line for each group
 * (venue and date that had invoices), sorted by the bytes of the venue's id and then by date, and a last line
 * about the closing itself. Each line is a JSON array without blanks, and ends in a line feed. So anybody can
 * compute it without Rollbook: docs/closing.md.
 */
import { createHash } from "node:crypto";
import { centsOf, writeEuros } from "../drop/value/total.ts";

/** Totals of one venue and date: `[venue_id, created_on, invoices, total]`, the total in euros. */
export type Group = readonly [venueId: string | null, createdOn: string, invoices: number, total: string];

export interface Sums {
  readonly groups: number;
  readonly invoices: number;
  /** In euros. */
  readonly total: string;
}

export interface Closing extends Sums {
  /** Its number: 1, 2, 3 and so on. */
  readonly closing: number;
  readonly period: string;
  /** First creation date. */
  readonly from: string;
  /** First creation date that no longer counts. */
  readonly to: string;
  /** The moment that is certified: exactly the loads that were known then count. In UTC, with microseconds. */
  readonly knownAt: string;
  readonly closedBy: string;
  readonly closedAt: string;
  /** The digest of the closing before, in hexadecimal; null for the first one. */
  readonly previousSha256: string | null;
  readonly sha256: string;
}

/** What is known of a closing before its groups are read. */
export type Opening = Omit<Closing, keyof Sums | "sha256">;

export interface Digest {
  /** Takes the next group, in their order. */
  readonly add: (group: Group) => void;
  readonly end: (closing: Opening) => Closing;
}

export function startDigest(): Digest {
  const hash = createHash("sha256");
  let groups = 0;
  let invoices = 0;
  let cents = 0n;
  return {
    add: (group) => {
      hash.update(line(group));
      groups += 1;
      invoices += group[2];
      cents += centsOf(group[3]);
    },
    end: (opening) => {
      const sums = { groups, invoices, total: writeEuros(cents) };
      hash.update(line(lastLine({ ...opening, ...sums })));
      return { ...opening, ...sums, sha256: hash.digest("hex") };
    },
  };
}

function line(values: readonly unknown[]): string {
  return `${JSON.stringify(values)}\n`;
}

function lastLine(closing: Omit<Closing, "sha256">): readonly unknown[] {
  const { period, from, to, knownAt, groups, invoices, total, closedBy, closedAt, previousSha256 } = closing;
  const what = [closing.closing, period, from, to, knownAt, groups, invoices, total];
  return [...what, closedBy, closedAt, previousSha256];
}
