/** The secrets of a local Airflow: made once, kept in a file that only its user can read. */
import { randomBytes, randomInt } from "node:crypto";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { errorState } from "../../db/errors.ts";
import { AirflowError } from "./errors.ts";

const ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789";

/** The secrets of these names, from `secrets.json` in the folder; those that are not there yet are made. */
export function readSecrets(folder: string, names: readonly string[]): Readonly<Record<string, string>> {
  const file = join(folder, "secrets.json");
  const kept = readKept(file);
  const missing = names.filter((name) => kept?.[name] === undefined);
  if (kept !== undefined && missing.length === 0) return kept;
  const secrets = { ...kept, ...Object.fromEntries(missing.map((name) => [name, makeSecret(name)])) };
  const fresh = `${file}.${process.pid}`;
  writeFileSync(fresh, `${JSON.stringify(secrets, undefined, 2)}\n`, { mode: 0o600 });
  // Only the runner that has the home's lock comes here.
  renameSync(fresh, file);
  return secrets;
}

function readKept(file: string): Readonly<Record<string, string>> | undefined {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Readonly<Record<string, string>>;
  } catch (cause) {
    if (errorState(cause) === "ENOENT") return undefined;
    throw new AirflowError({
      code: "configuration",
      message: `${file} cannot be read. Remove it to have new secrets made, with the folder postgres beside it.`,
      cause,
    });
  }
}

function makeSecret(name: string): string {
  // What Fernet wants: 32 bytes, URL-safe.
  if (name.endsWith("FERNET_KEY")) {
    return randomBytes(32).toString("base64").replaceAll("+", "-").replaceAll("/", "_");
  }
  // Letters and digits, for it goes into URLs and JSON; a password is typed, too.
  const length = name.endsWith("ADMIN_PASSWORD") ? 16 : 64;
  return Array.from({ length }, () => ALPHABET.charAt(randomInt(ALPHABET.length))).join("");
}
