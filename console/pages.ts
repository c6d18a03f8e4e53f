/** All pages, in the order of the navigation. */
import type { DefinedPage } from "./page.ts";
import { closing } from "./pages/closing.ts";
import { closings } from "./pages/closings.ts";
import { invoice } from "./pages/invoice.ts";
import { load } from "./pages/load.ts";
import { loads } from "./pages/loads.ts";
import { overview } from "./pages/overview.ts";
import { partitions } from "./pages/partitions.ts";
import { quarantine } from "./pages/quarantine.ts";
import { total } from "./pages/total.ts";
import { totals } from "./pages/totals.ts";

export const PAGES: readonly DefinedPage[] = [
  overview,
  totals,
  total,
  invoice,
  loads,
  load,
  partitions,
  quarantine,
  closings,
  closing,
];
