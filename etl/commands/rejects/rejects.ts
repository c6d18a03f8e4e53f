import type { Command } from "commander";
import type { Context } from "../context.ts";
import { defineDismiss } from "./dismiss.ts";
import { defineList } from "./list.ts";
import { defineRetry } from "./retry.ts";

export function defineRejects(verb: Command, context: Context): void {
  verb.description(
    "Lines that loads refused. They are open until somebody decides: read again by today's rules, or dismissed. Without a word behind it, `rejects` lists what is open.",
  );
  defineList(verb.command("list", { isDefault: true }), context);
  defineRetry(verb.command("retry"), context);
  defineDismiss(verb.command("dismiss"), context);
}
