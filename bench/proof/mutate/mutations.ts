/** All mutations, by what they break. */
import type { Mutation } from "./mutation.ts";
import { OF_CLOSINGS } from "./mutations/closings.ts";
import { OF_THE_DATABASE } from "./mutations/database.ts";
import { OF_THE_LEDGER } from "./mutations/ledger.ts";
import { OF_LOADS } from "./mutations/load.ts";
import { OF_PARTITIONS } from "./mutations/partitions.ts";
import { OF_REFRESHES } from "./mutations/refresh.ts";
import { OF_REPORTS } from "./mutations/reports.ts";
import { OF_UNDOS } from "./mutations/undo.ts";
import { OF_PROOFS } from "./mutations/verify.ts";

export const MUTATIONS: readonly Mutation[] = [
  ...OF_LOADS,
  ...OF_REFRESHES,
  ...OF_UNDOS,
  ...OF_PROOFS,
  ...OF_THE_LEDGER,
  ...OF_REPORTS,
  ...OF_CLOSINGS,
  ...OF_PARTITIONS,
  ...OF_THE_DATABASE,
];
