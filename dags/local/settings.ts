/** What the user sets: docker-compose.yml's variables that are no secrets, from the environment or from .env. */
import { readFileSync } from "node:fs";
import { parseEnv } from "node:util";
import { errorState } from "../../db/errors.ts";
import { findReferences, type Variables } from "./compose.ts";
import { AirflowError } from "./errors.ts";

/**
 * The settings that a compose file refers to; one in the environment wins, also when it is empty, as with Docker Compose. Required
 * variables are secrets, which a local Airflow has of its own: they are left out.
 *
 * @throws AirflowError `configuration`
 */
export function readSettings(options: {
  readonly composeFile: string;
  /** `NAME=value` lines. Need not be there. */
  readonly envFile: string;
  readonly environment: Variables;
}): Variables {
  const { composeFile, envFile, environment } = options;
  const given = { ...readEnvFile(envFile), ...environment };
  const settings: Record<string, string> = {};
  for (const { name, kind } of findReferences(composeFile)) {
    const value = given[name];
    if (kind === "required" || value === undefined) continue;
    // Node.js ends an unquoted value at a #, Docker Compose only at one after a blank.
    if (value.startsWith("{") && !isJson(value)) {
      throw new AirflowError({
        code: "configuration",
        message: `${name} is not JSON. In .env, put it between single quotes.`,
      });
    }
    settings[name] = value;
  }
  return settings;
}

function readEnvFile(file: string): Variables {
  try {
    return parseEnv(readFileSync(file, "utf8")) as Variables;
  } catch (cause) {
    if (errorState(cause) === "ENOENT") return {};
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new AirflowError({ code: "configuration", message: `${file} cannot be read: ${why}`, cause });
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
