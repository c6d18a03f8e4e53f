/** All pages, in the order of the navigation. */
import type { DefinedPage } from "./page.ts";
import { loads } from "./pages/loads.ts";

export const PAGES: readonly DefinedPage[] = [loads];
