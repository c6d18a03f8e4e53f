/** The docs name files and places that are there. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const CHECKOUT = fileURLToPath(new URL("..", import.meta.url));
const DOCUMENTS = [
  "README.md",
  ...readdirSync(join(CHECKOUT, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];

const read = (path: string) => readFileSync(join(CHECKOUT, path), "utf8");

/** The name of a heading in a link, as GitHub makes it. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, "")
    .trim()
    .replaceAll(" ", "-");
}

function anchorsOf(path: string): readonly string[] {
  return [...read(path).matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) => anchorOf(heading));
}

/** Links that lead nowhere. */
function brokenLinks(path: string): readonly string[] {
  const links = [...read(path).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = ""]) => link);
  return links
    .filter((link) => !/^(https?|mailto):/.test(link))
    .filter((link) => {
      const [file = "", anchor] = link.split("#");
      const target = file === "" ? path : join(dirname(path), file);
      if (!existsSync(join(CHECKOUT, target))) return true;
      return anchor !== undefined && target.endsWith(".md") && !anchorsOf(target).includes(anchor);
    });
}

/** Files and folders of the checkout that are named in code marks, and are not there. */
function missingFiles(path: string): readonly string[] {
  const names = [...read(path).matchAll(/`((?:db|etl|console|bench|dags|\.ci)\/[\w./-]*)`/g)].map(
    ([, name = ""]) => name,
  );
  return names.filter((name) => !existsSync(join(CHECKOUT, name)));
}

test.each(DOCUMENTS)("every link of %s leads somewhere", (path) => {
  expect(brokenLinks(path)).toEqual([]);
});

test.each(DOCUMENTS)("every file that %s names is there", (path) => {
  expect(missingFiles(path)).toEqual([]);
});

test("docs/README.md names every page", () => {
  const links = read("docs/README.md");
  const pages = DOCUMENTS.filter((path) => path !== "README.md" && path !== "docs/README.md");
  expect(pages.filter((path) => !links.includes(`(${path.slice("docs/".length)}`))).toEqual([]);
});
