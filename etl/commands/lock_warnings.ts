/** Warns of settings of the server that will not do for long. */
import type { Database } from "../../db/client.ts";
import { note } from "../output.ts";
import { warnOfLocks } from "../reports/status.ts";
import type { Context } from "./context.ts";

export async function warnAboutLocks(context: Context, database: Database): Promise<void> {
  for (const warning of await warnOfLocks({ database, signal: context.signal }))
    note(context, `warning: ${warning}`);
}
