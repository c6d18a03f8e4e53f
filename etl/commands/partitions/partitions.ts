import type { Command } from "commander";
import type { Context } from "../context.ts";
import { defineAttach } from "./attach.ts";
import { defineDetach } from "./detach.ts";
import { defineDrop } from "./drop.ts";
import { defineEnsure } from "./ensure.ts";
import { defineList } from "./list.ts";

export function definePartitions(verb: Command, context: Context): void {
  verb.description(
    "Partitions: list them, make them ahead, take them out of the live tables, put them back, drop their invoices.",
  );
  defineList(verb.command("list"), context);
  defineEnsure(verb.command("ensure"), context);
  defineDetach(verb.command("detach"), context);
  defineAttach(verb.command("attach"), context);
  defineDrop(verb.command("drop"), context);
}
