import { createPermutation, createPicker, deriveKey, mix32 } from "./random.ts";

/**
 * The venues of a generated history: names, sizes, prices and opening days. A venue is a number from 0 up, in
 * the order of the bytes of its name.
 */
export interface Venues {
  readonly count: number;
  /** `venue-00042,` of every venue, one after the other, each `nameLength + 1` bytes long. */
  readonly nameBytes: Uint8Array;
  readonly nameLength: number;
  name(venue: number): string;
  indexOf(name: string): number;
  /** What an average invoice costs there, in cents. */
  readonly price: Uint32Array;
  /** The first date with invoices, in days since 1970-01-01; -2^31 for those that were always there. */
  readonly opening: Int32Array;
  /** A venue that is open on the day, by size. `word` is a 32-bit random number. */
  pick(word: number, day: number): number;
}

export interface VenueOptions {
  readonly seed: number;
  readonly venues: number;
  /** Share of the venues that open between the first and the last sync date. */
  readonly newVenues: number;
  readonly firstDay: number;
  readonly lastDay: number;
}

const ALWAYS = -(2 ** 31);

/**
 * Sizes fall as 1 / (rank + 3), Zipf's law with a blunted head: of 1,000 venues the largest has 4 % of the
 * invoices, the largest hundred 60 %, the smallest half 12 %. Size, name, price and opening day do not depend
 * on each other.
 */
export function createVenues(options: VenueOptions): Venues {
  const count = options.venues;
  const digits = Math.max(5, String(count - 1).length);
  const name = (venue: number) => `venue-${String(venue).padStart(digits, "0")}`;
  const weights = sizes(options);
  const opening = openings(options);
  const established = Uint32Array.from(weights.keys()).filter((venue) => opening[venue] === ALWAYS);
  const pickAny = createPicker(weights);
  const pickEstablished = createPicker(Float64Array.from(established, (venue) => weights[venue] as number));
  return {
    count,
    nameBytes: Buffer.from(Array.from({ length: count }, (_, venue) => `${name(venue)},`).join(""), "latin1"),
    nameLength: 6 + digits,
    name,
    indexOf: (text) => Number(text.slice(6)),
    price: prices(options),
    opening,
    pick: (word, day) => {
      let draw = word;
      for (let attempt = 0; attempt < 8; attempt += 1) {
        const venue = pickAny(draw, mix32(draw ^ 0x5bd1e995));
        if ((opening[venue] as number) <= day) return venue;
        draw = mix32(draw + 0x7f4a7c15);
      }
      return established[pickEstablished(draw, mix32(draw ^ 0x5bd1e995))] as number;
    },
  };
}

function sizes(options: VenueOptions): Float64Array {
  const rank = createPermutation(options.venues, deriveKey(options.seed, 1));
  return Float64Array.from({ length: options.venues }, (_, venue) => 1 / (rank.at(venue) + 3));
}

function openings(options: VenueOptions): Int32Array {
  const opening = new Int32Array(options.venues).fill(ALWAYS);
  const span = options.lastDay - options.firstDay;
  const news = span === 0 ? 0 : Math.min(Math.floor(options.venues * options.newVenues), options.venues - 1);
  const order = createPermutation(options.venues, deriveKey(options.seed, 2));
  for (let k = 0; k < news; k += 1) {
    opening[order.at(k)] = options.firstDay + Math.floor(((k + 1) * span) / (news + 1));
  }
  return opening;
}

function prices(options: VenueOptions): Uint32Array {
  const key = deriveKey(options.seed, 3);
  return Uint32Array.from({ length: options.venues }, (_, venue) => {
    const level = mix32(key + venue) & 1023;
    return 500 + Math.floor((level * level) / 200);
  });
}
