import { type Command, Option } from "commander";
import type { Group } from "../../closings/certificate.ts";
import { readCertificate } from "../../closings/read.ts";
import { note } from "../../output.ts";
import {
  CERTIFICATE_FORMATS,
  type CertificateFormat,
  openCertificatePrinter,
} from "../../terminal/closings.ts";
import { type Context, EXIT } from "../context.ts";
import { jsonOption, parseWhole } from "../flags.ts";
import { declareKind } from "../kind.ts";
import { withWarehouse } from "../open.ts";

interface Flags {
  readonly format?: CertificateFormat;
  readonly json?: boolean;
}

export function defineShow(verb: Command, context: Context): void {
  declareKind(verb, "reads")
    .description(
      "What a closing certifies, with the list of all its groups as they were known then. With --format json it is a certificate, one object: ten lines of Python check it without Rollbook (docs/closing.md). Exit code 1 when the deltas do not say any more what was certified.",
    )
    .argument("<closing>", "number of the closing", parseWhole(1))
    .addOption(
      new Option("--format <format>", "table: for people; json: the certificate, one object").choices(
        CERTIFICATE_FORMATS,
      ),
    )
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook closings show 3 --format json\n")
    .action(async (closing: number, flags: Flags) => context.finish(await show(context, closing, flags)));
}

async function show(context: Context, closing: number, { json, format }: Flags): Promise<number> {
  return withWarehouse(context, { reportsOnly: true }, async ({ database }) => {
    const printer = openCertificatePrinter(context, format ?? (json ? "json" : "table"));
    const genuine = await readCertificate({
      database,
      closing,
      signal: context.signal,
      onClosing: printer.begin,
      onGroup: (group: Group) => printer.add(group),
    });
    await printer.end();
    if (genuine) return EXIT.done;
    note(
      context,
      `rollbook: closing ${closing} is not what was certified. Find out more: rollbook verify --closings`,
    );
    return EXIT.failed;
  });
}
