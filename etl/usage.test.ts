import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { expect, test } from "vitest";
import { describeProgram, readDocument, verbsOf } from "./usage.ts";

function everyVerb(command: Command): readonly Command[] {
  return verbsOf(command).flatMap((verb) => [verb, ...everyVerb(verb)]);
}

test("docs/command-line.md is what the command line says of itself; else: npm run usage", async () => {
  const { current, wanted } = await readDocument();
  expect(current).toBe(wanted);
});

test("the README names every verb", async () => {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  for (const verb of verbsOf(await describeProgram()))
    expect(readme).toMatch(new RegExp(`\`${verb.name()}[\` ]`));
});

test("every verb that does something shows an example that it would accept", async () => {
  const verbs = everyVerb(await describeProgram()).filter((verb) => verbsOf(verb).length === 0);
  expect(verbs.map((verb) => verb.name())).toContain("ensure");
  for (const verb of verbs) {
    let help = "";
    verb.configureOutput({
      writeOut: (text) => {
        help += text;
      },
    });
    verb.outputHelp();
    const [, example = ""] = /\nExample:\n {2}(rollbook .*)\n/.exec(help) ?? [];
    const words = example.split(" ").slice(verb.parent?.name() === "rollbook" ? 2 : 3);
    verb.exitOverride().action(() => {});
    expect(() => verb.parse(words, { from: "user" }), `${verb.name()}: ${example}`).not.toThrow();
  }
});
