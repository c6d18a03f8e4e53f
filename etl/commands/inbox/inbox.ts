import type { Command } from "commander";
import type { Context } from "../context.ts";
import { defineArchive } from "./archive.ts";
import { defineCheck } from "./check.ts";
import { defineDecide } from "./decide.ts";
import { defineList } from "./list.ts";
import { defineRejected } from "./rejected.ts";
import { defineTake } from "./take.ts";

export function defineInbox(verb: Command, context: Context): void {
  verb.description(
    "The steps of `watch`, for schedulers: one round of it, or one by one: which files are ready, where they go when they are done, whether they stayed as they were, and what becomes of the rejected ones.",
  );
  defineTake(verb.command("take"), context);
  defineList(verb.command("list"), context);
  defineArchive(verb.command("archive"), context);
  defineCheck(verb.command("check"), context);
  defineRejected(verb.command("rejected"), context);
  defineDecide(verb.command("decide"), context);
}
