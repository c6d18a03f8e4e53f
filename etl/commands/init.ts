import { type Command, Option } from "commander";
import { initWarehouse } from "../../db/migrate.ts";
import { ROLES } from "../../db/roles/rights.ts";
import { GRANULARITIES, type Granularity } from "../../db/schema.ts";
import { writeJson, writeLine } from "../output.ts";
import { countOf, describeDays } from "../terminal/format.ts";
import { type Context, EXIT } from "./context.ts";
import { jsonOption, parseDate, parseTimeOfDay, parseWhole } from "./flags.ts";
import { declareKind } from "./kind.ts";
import { warnAboutLocks } from "./lock_warnings.ts";
import { withDatabase } from "./open.ts";

interface InitFlags {
  readonly timeZone?: string;
  readonly granularity?: Granularity;
  readonly earliest?: string;
  readonly dayStarts?: string;
  readonly keepStatements?: number;
  readonly refuseClosed?: boolean;
  readonly roles?: boolean;
  readonly json?: boolean;
}

/** Some 270 years. */
const MOST_DAYS = 100_000;

export function defineInit(verb: Command, context: Context): void {
  declareKind(verb, "works")
    .description(
      "Create the warehouse, or migrate it to this version. Its settings are fixed once something is loaded, but for --keep-statements and --refuse-closed; running it again is safe.",
    )
    .option("--time-zone <name>", "time zone in which an instant becomes a creation date (default: UTC)")
    .addOption(
      new Option("--granularity <range>", "creation dates that one partition holds (default: month)").choices(
        GRANULARITIES,
      ),
    )
    .option("--earliest <date>", "reject invoices created before it (default: 2000-01-01)", parseDate)
    .option(
      "--day-starts <time>",
      "when a business day starts, HH:MM: invoices before it count for the day before (default: 00:00)",
      parseTimeOfDay,
    )
    .option(
      "--keep-statements <days>",
      "for how many days a load can be undone; a larger number takes more room; may be changed at any time (default: 400)",
      parseWhole(1, MOST_DAYS),
    )
    .option(
      "--refuse-closed",
      "reject lines for periods that are closed (period_closed), instead of restating them; may be changed at any time (default: off)",
    )
    .option("--no-refuse-closed", "let files restate closed periods")
    .option(
      "--roles",
      "make the roles rollbook_owner, rollbook_steward, rollbook_loader and rollbook_reader, and let each do its own work only (takes the right to create roles; docs/security.md)",
    )
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook init --time-zone Europe/Berlin --granularity month\n")
    .action(async (flags: InitFlags) => context.finish(await init(context, flags)));
}

async function init(context: Context, flags: InitFlags): Promise<number> {
  return withDatabase(context, async ({ database }) => {
    const { json = false, ...wanted } = flags;
    const { settings, keepStatementsDays, refuseClosed, applied, created, changed, roles } =
      await initWarehouse({ database, ...wanted, signal: context.signal });
    await warnAboutLocks(context, database);
    if (json) {
      await writeJson(context, {
        ...settings,
        keepStatementsDays,
        refuseClosed,
        created,
        changed,
        migrations: applied,
        roles,
      });
    } else {
      const done = created
        ? "made"
        : changed
          ? "has other settings now"
          : applied.length > 0
            ? `migrated (${applied.join(", ")})`
            : "is up to date";
      await writeLine(
        context,
        `The warehouse ${done}: time zone ${settings.timeZone}, ${describeDays(settings)}one partition per ${settings.granularity}, invoices from ${settings.earliest} on; a load can be undone for ${countOf(keepStatementsDays, "day")}${refuseClosed ? "; lines for closed periods are rejected" : ""}.`,
      );
      if (flags.roles === true) {
        await writeLine(
          context,
          `It belongs to ${ROLES.owner}; let users load with: grant ${ROLES.loader} to "name"; undo loads, too, with: grant ${ROLES.steward} to "name"; and read the reports with: grant ${ROLES.reader} to "name"`,
        );
      }
    }
    return EXIT.done;
  });
}
