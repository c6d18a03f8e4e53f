/** The ready-made sources read the files that they are for: the totals were added up by hand. */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { createTestDatabase, type TestWarehouse } from "../../../db/testing/database.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import { rollbook } from "../cli.ts";
import { disagreements, totalsOf } from "../warehouse.ts";

const EXAMPLES = fileURLToPath(new URL("../../../sources/examples", import.meta.url));

interface Example {
  readonly name: string;
  /** Below the inbox. */
  readonly files: readonly string[];
  /** `venue_id`, `created_on`, number of invoices, total. */
  readonly totals: readonly (readonly [string, string, number, string])[];
}

/** Added up by hand. The same for the tests of Airflow. */
const EXAMPLE_FILES: readonly Example[] = (
  JSON.parse(readFileSync(new URL("examples.json", import.meta.url), "utf8")) as readonly Written[]
).map(({ name, files, totals }) => ({
  name,
  files,
  totals: totals.map(({ venue, created_on, invoices, total }) => [venue, created_on, invoices, total]),
}));

interface Written {
  readonly name: string;
  readonly files: readonly string[];
  readonly totals: readonly {
    readonly venue: string;
    readonly created_on: string;
    readonly invoices: number;
    readonly total: string;
  }[];
}

interface Scene {
  readonly warehouse: TestWarehouse;
  readonly folder: string;
  /** Runs rollbook there; it must succeed. */
  readonly run: (...args: readonly string[]) => Promise<void>;
  readonly totals: () => Promise<Example["totals"]>;
}

/** An inbox with the examples' files, and their sources beside it. */
async function openScene(examples: readonly Example[]): Promise<Scene> {
  const warehouse = await createTestDatabase({ timeZone: "Europe/Berlin" });
  const folder = makeFolder();
  mkdirSync(join(folder, "sources"));
  for (const { name, files } of examples) {
    cpSync(join(EXAMPLES, `${name}.yaml`), join(folder, "sources", `${name}.yaml`));
    cpSync(join(EXAMPLES, name), join(folder, "inbox", name), { recursive: true });
    const changed = new Date("2026-10-01T12:00:00Z");
    for (const file of files) utimesSync(join(folder, "inbox", file), changed, changed);
  }
  return {
    warehouse,
    folder,
    run: async (...args) => {
      const { code, stdout, stderr } = await rollbook(args, { environment: warehouse.environment, folder });
      expect({ code, stderr, stdout }).toMatchObject({ code: 0 });
    },
    totals: async () => {
      expect(await disagreements(warehouse)).toEqual([]);
      expect(await warehouse.query("select from warehouse.rejects")).toEqual([]);
      const rows = await totalsOf(warehouse);
      return rows.map(({ venue_id = "", created_on = "", invoices, total }) => [
        venue_id,
        created_on,
        invoices,
        total,
      ]);
    },
  };
}

test("each example is tested", () => {
  const names = readdirSync(EXAMPLES).filter((name) => name.endsWith(".yaml"));
  expect(names.toSorted()).toEqual(EXAMPLE_FILES.map(({ name }) => `${name}.yaml`));
});

test.each(EXAMPLE_FILES)("files of $name are loaded by `load`, and twice change nothing", async (example) => {
  const { run, totals } = await openScene([example]);
  const files = example.files.map((file) => join("inbox", file));
  await run("load", ...files);
  expect(await totals()).toEqual(example.totals);
  await run("load", ...files);
  expect(await totals()).toEqual(example.totals);
});

test("`watch` takes all of them from one inbox and archives them", async () => {
  const { folder, run, totals } = await openScene(EXAMPLE_FILES);
  await run("watch", "inbox", "--once");
  const byVenue = EXAMPLE_FILES.flatMap(({ totals }) => totals).toSorted(([one], [other]) =>
    Buffer.compare(Buffer.from(one), Buffer.from(other)),
  );
  expect(await totals()).toEqual(byVenue);
  for (const file of EXAMPLE_FILES.flatMap(({ files }) => files)) {
    expect(existsSync(join(folder, "inbox/archive", file))).toBe(true);
  }
});
