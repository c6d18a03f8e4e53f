/** Reads docker-compose.yml: its services' commands, environments and mounts, so that a local run has the very same. */
import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { AirflowError } from "./errors.ts";

export type Variables = Readonly<Record<string, string | undefined>>;

export interface Mount {
  readonly kind: "bind" | "volume";
  /** A folder of the host, or a volume's name. */
  readonly source: string;
  /** Where the container sees it. */
  readonly target: string;
}

export interface Service {
  readonly name: string;
  readonly image: string;
  /** Empty: the image's own. */
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly mounts: readonly Mount[];
  /** Whether it is kept up: not one that does its work once. */
  readonly staysUp: boolean;
  /** Everything that the file says of it, interpolated. */
  readonly all: Readonly<Record<string, unknown>>;
}

export interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: readonly string[];
}

/** A `${NAME...}` of the file. */
export interface Reference {
  readonly name: string;
  /** `required`: `${NAME:?...}`; `default`: `${NAME:-...}`; `bare`: `${NAME}`. */
  readonly kind: "required" | "default" | "bare";
}

/**
 * Parses docker-compose.yml with anchors and merge keys, and puts the variables in.
 *
 * @throws AirflowError `compose`, when a required variable is missing or the file is not as this reader knows it
 */
export function readCompose(options: { readonly file: string; readonly variables: Variables }): Compose {
  const { file, variables } = options;
  const document = asRecord(interpolateAll(parseFile(file), variables), "the file");
  const services = Object.entries(asRecord(document.services, "services")).map(
    ([name, all]) => [name, readService(name, asRecord(all, name), variables)] as const,
  );
  return {
    services: Object.fromEntries(services),
    volumes: Object.keys(asRecord(document.volumes ?? {}, "volumes")),
  };
}

/** Every variable that the file refers to, those that containers take over by name (`NAME:` without a value) included. */
export function findReferences(file: string): readonly Reference[] {
  const document = asRecord(parseFile(file), "the file");
  const found = new Map<string, Reference>();
  const see: Replace = (name, operator, word) => {
    // A default may refer to others.
    word();
    const kind = operator?.endsWith("?") ? "required" : operator === undefined ? "bare" : "default";
    found.set(`${name} ${kind}`, { name, kind });
    return "";
  };
  walkStrings(document, (text) => expand(text, see));
  for (const service of Object.values(asRecord(document.services, "services"))) {
    const { environment } = asRecord(service, "a service");
    for (const [name, value] of Object.entries(asRecord(environment ?? {}, "environment"))) {
      if (value === null) found.set(`${name} bare`, { name, kind: "bare" });
    }
  }
  return [...found.values()];
}

function parseFile(file: string): unknown {
  try {
    return parse(readFileSync(file, "utf8"), { merge: true });
  } catch (cause) {
    throw failure(`${file} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`, cause);
  }
}

function readService(name: string, all: Readonly<Record<string, unknown>>, variables: Variables): Service {
  const { command = [], environment = {}, volumes = [], image = "", restart } = all;
  if (!isStrings(command)) throw failure(`the command of ${name} must be a list of texts`);
  if (!Array.isArray(volumes)) throw failure(`the volumes of ${name} must be a list`);
  return {
    name,
    image: String(image),
    command,
    environment: readEnvironment(name, environment, variables),
    mounts: volumes.map((volume) => readMount(name, volume)),
    staysUp: restart !== undefined && restart !== "no",
    all,
  };
}

function readEnvironment(
  service: string,
  given: unknown,
  variables: Variables,
): Readonly<Record<string, string>> {
  const environment: Record<string, string> = {};
  for (const [name, value] of Object.entries(asRecord(given, `the environment of ${service}`))) {
    // Without a value it is taken over from the environment, and left out where it is not there.
    const text = value === null ? variables[name] : String(value);
    if (text !== undefined) environment[name] = text;
  }
  return environment;
}

function readMount(service: string, given: unknown): Mount {
  if (typeof given === "string") {
    const [source, target, ...mode] = given.split(":");
    if (source === undefined || target === undefined || mode.length > 1) {
      throw failure(`a volume of ${service} is not source:target: ${given}`);
    }
    return { kind: /^[./~]/.test(source) ? "bind" : "volume", source, target };
  }
  const { type, source, target } = asRecord(given, `a volume of ${service}`);
  if (typeof source !== "string" || typeof target !== "string" || (type !== "bind" && type !== "volume")) {
    throw failure(`a volume of ${service} has no type, source or target`);
  }
  return { kind: type, source, target };
}

function interpolateAll(value: unknown, variables: Variables): unknown {
  if (typeof value === "string") return interpolate(value, variables);
  if (Array.isArray(value)) return value.map((one) => interpolateAll(one, variables));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      // Templates for others: what they hold counts where it is used.
      .filter(([name]) => !name.startsWith("x-"))
      .map(([name, one]) => [name, interpolateAll(one, variables)]),
  );
}

function walkStrings(value: unknown, see: (text: string) => void): void {
  if (typeof value === "string") see(value);
  else if (typeof value === "object" && value !== null) {
    for (const one of Object.values(value)) walkStrings(one, see);
  }
}

/**
 * Puts variables into a text, as Docker Compose does: `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME:?message}`, `${NAME:+other}`, the same
 * without the colon (then an empty value counts as one), nested, and `$$` for a dollar.
 *
 * @throws AirflowError `compose`, when a required variable is missing
 */
export function interpolate(text: string, variables: Variables): string {
  return expand(text, (name, operator, word) => {
    const value = variables[name];
    const present = value !== undefined && (value !== "" || !operator?.startsWith(":"));
    switch (operator?.at(-1)) {
      case "-":
        return present ? value : word();
      case "+":
        return present ? word() : "";
      case "?":
        if (!present) throw failure(`variable ${name} is required: ${word()}`);
        return value;
      default:
        return value ?? "";
    }
  });
}

type Replace = (name: string, operator: string | undefined, word: () => string) => string;

const NAME = /^[A-Za-z_][A-Za-z0-9_]*/;

function expand(text: string, replace: Replace): string {
  let result = "";
  let at = 0;
  while (at < text.length) {
    const dollar = text.indexOf("$", at);
    if (dollar < 0) return result + text.slice(at);
    result += text.slice(at, dollar);
    const rest = text.slice(dollar + 1);
    if (rest.startsWith("$")) {
      result += "$";
      at = dollar + 2;
    } else if (rest.startsWith("{")) {
      const inner = bracedPart(rest, text);
      result += expandBraced(inner, replace, text);
      at = dollar + inner.length + 3;
    } else {
      const name = NAME.exec(rest)?.[0];
      if (name === undefined) throw failure(`a dollar that begins no variable, in: ${text}`);
      result += replace(name, undefined, () => "");
      at = dollar + 1 + name.length;
    }
  }
  return result;
}

/** What is between the braces that `rest` begins with. */
function bracedPart(rest: string, text: string): string {
  let depth = 0;
  for (let index = 0; index < rest.length; index += 1) {
    // A brace of JSON within a default would be counted, too; such pairs are balanced.
    if (rest[index] === "{") depth += 1;
    else if (rest[index] === "}") {
      depth -= 1;
      if (depth === 0) return rest.slice(1, index);
    }
  }
  throw failure(`a brace that does not end, in: ${text}`);
}

function expandBraced(inner: string, replace: Replace, text: string): string {
  const name = NAME.exec(inner)?.[0];
  const [, operator, word = ""] = /^(:?[-?+])([\s\S]*)$/.exec(inner.slice(name?.length ?? 0)) ?? [];
  if (name === undefined || (operator === undefined && inner !== name)) {
    throw failure(`not a variable: \${${inner}}, in: ${text}`);
  }
  return replace(name, operator, () => expand(word, replace));
}

function isStrings(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((one) => typeof one === "string");
}

function asRecord(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw failure(`${what} must be a mapping`);
  }
  return value as Readonly<Record<string, unknown>>;
}

function failure(message: string, cause?: unknown): AirflowError {
  return new AirflowError({ code: "compose", message: `docker-compose.yml: ${message}`, cause });
}
