/**
 * What the warehouse must show in the end, reckoned without it: of each invoice the statement with the greatest (sync date, load, line).
 * The loads may be told in any order.
 */

/** What a drop says of an invoice, by its number, in the order of the lines. */
export interface Statements {
  readonly invoices: Uint32Array;
  readonly cents: Int32Array;
}

/** A venue's number and a date, in days since 1970-01-01. */
export interface Place {
  readonly venue: number;
  readonly day: number;
}

export interface Group extends Place {
  readonly invoices: number;
  readonly cents: bigint;
}

export interface Model {
  /** A drop was loaded. */
  readonly add: (load: { readonly loadId: number; readonly syncDay: number } & Statements) => void;
  /** Number of invoices that are in. */
  readonly invoices: () => number;
  /** By venue and day. */
  readonly groups: () => ReadonlyMap<string, Group>;
}

interface Chunk {
  readonly syncDay: Uint16Array;
  readonly loadId: Uint32Array;
  readonly cents: Int32Array;
}

const CHUNK = 1 << 18;

export function groupKey({ venue, day }: Place): string {
  return `${venue} ${day}`;
}

/** Memory: 10 bytes for each invoice. @param placeOf where an invoice belongs, by its number */
export function createModel(placeOf: (invoice: number) => Place): Model {
  const chunks: Chunk[] = [];
  let present = 0;
  const chunkOf = (invoice: number): Chunk => {
    const which = Math.floor(invoice / CHUNK);
    while (chunks.length <= which) {
      chunks.push({
        syncDay: new Uint16Array(CHUNK),
        loadId: new Uint32Array(CHUNK),
        cents: new Int32Array(CHUNK),
      });
    }
    return chunks[which] as Chunk;
  };
  return {
    add: ({ loadId, syncDay, invoices, cents }) => {
      invoices.forEach((invoice, line) => {
        const chunk = chunkOf(invoice);
        const at = invoice % CHUNK;
        const [knownDay, knownLoad] = [chunk.syncDay[at] as number, chunk.loadId[at] as number];
        if (knownLoad === 0) present += 1;
        // Within the load itself the later line wins.
        if (syncDay < knownDay || (syncDay === knownDay && loadId < knownLoad)) return;
        chunk.syncDay[at] = syncDay;
        chunk.loadId[at] = loadId;
        chunk.cents[at] = cents[line] as number;
      });
    },
    invoices: () => present,
    groups: () => {
      const groups = new Map<string, { venue: number; day: number; invoices: number; cents: bigint }>();
      for (const [which, { loadId, cents }] of chunks.entries()) {
        for (let at = 0; at < CHUNK; at += 1) {
          if (loadId[at] === 0) continue;
          const place = placeOf(which * CHUNK + at);
          const key = groupKey(place);
          const group = groups.get(key) ?? { ...place, invoices: 0, cents: 0n };
          group.invoices += 1;
          group.cents += BigInt(cents[at] as number);
          groups.set(key, group);
        }
      }
      return groups;
    },
  };
}
