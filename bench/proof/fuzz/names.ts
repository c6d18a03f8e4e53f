/** Names of files: dates in all forms, most of them right, and what looks like them. */
import { createRandom, digits, type Random } from "../../generator/choices.ts";

const ROLE = 3;
const NAMES_PER_SEED = 20;

/** Some names, always the same for a seed. */
export function makeNames(seed: number): readonly string[] {
  const random = createRandom(seed, ROLE);
  return Array.from({ length: NAMES_PER_SEED }, () => makeName(random));
}

function makeName(random: Random): string {
  // Few dates, so that one is often there twice.
  const dates = Array.from({ length: random.between(1, 3) }, () => makeDate(random));
  let name = random.pick(BETWEEN);
  for (let left = random.pick([0, 1, 1, 1, 2, 2, 2, 3, 3, 4]); left > 0; left--)
    name += writeDate(random, random.pick(dates)) + random.pick(BETWEEN);
  if (random.once(20)) name = name.slice(0, random.below(name.length + 1)) + digits(random, 1);
  return name + random.pick(ENDS);
}

const BETWEEN = ["_", "_", "-", ".", " ", "", "", "x", "invoices_", "1", "_07", ".07.", "-07-20", "é", "٣"];
const ENDS = [
  ...[".csv", ".csv", ".csv", ".csv.gz", ".CSV", ".Csv.Gz", ".CSV.gz"],
  ...[".txt", ".csv.zip", "csv", ".gz", ".csv.gz.csv", ".csv.", ".cſv", ""],
];

type DateParts = readonly [year: string, month: string, day: string];

function makeDate(random: Random): DateParts {
  const year = random.once(5)
    ? random.pick(["1899", "1900", "2099", "2100", "0018", "2016"])
    : random.pick(["2018", "2019", "2020"]);
  const month = random.once(10) ? random.pick(["00", "13", "02"]) : digitsTo(random, 12);
  const day = random.once(10) ? random.pick(["00", "29", "30", "31", "32"]) : digitsTo(random, 28);
  return [year, month, day];
}

function digitsTo(random: Random, greatest: number): string {
  return String(random.between(1, greatest)).padStart(2, "0");
}

function writeDate(random: Random, [year, month, day]: DateParts): string {
  switch (random.below(8)) {
    case 0:
    case 1:
      return `${year}-${month}-${day}`;
    case 2:
      return `${year}_${month}_${day}`;
    case 3:
    case 4:
      return `${day}.${month}.${year}`;
    case 5:
      return year + month + day;
    case 6:
      return year + month + day + digits(random, random.pick([4, 4, 6, 6, 2, 5, 7]));
    default:
      return random.pick([
        `${year}.${month}.${day}`,
        `${day}-${month}-${year}`,
        `${year}-${month}_${day}`,
        `${year}_${month}-${day}`,
        `${day}.${month}-${year}`,
        `${day}.${month}.${year.slice(2)}`,
        `${year}-${month}`,
        `${year} ${month} ${day}`,
      ]);
  }
}
