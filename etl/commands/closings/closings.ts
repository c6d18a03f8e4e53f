import type { Command } from "commander";
import type { Context } from "../context.ts";
import { defineList } from "./list.ts";
import { defineShow } from "./show.ts";

export function defineClosings(verb: Command, context: Context): void {
  verb.description(
    "What periods were when they were closed. Without a word behind it, `closings` lists all closings.",
  );
  defineList(verb.command("list", { isDefault: true }), context);
  defineShow(verb.command("show"), context);
}
