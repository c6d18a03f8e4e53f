/** docker-compose.yml, the Dockerfile and their scripts: valid, at one with each other, with the checkout, and with the installed Airflow. */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { parseEnv } from "node:util";
import pg from "pg";
import { describe, expect, test } from "vitest";
import { parse as parseYaml } from "yaml";
import { openOwnServer } from "../../db/testing/own_server.ts";
import { CHECKOUT, COMPOSE_FILE } from "../local/checkout.ts";
import { findReferences, readCompose, type Service } from "../local/compose.ts";
import { INSTALLED_WITHIN_MS, installPython, makeFolder } from "../local/testing.ts";

const read = (path: string) => readFileSync(join(CHECKOUT, path), "utf8");
const DOCKERFILE = "dags/docker/Dockerfile";

const references = findReferences(COMPOSE_FILE);
const required = references.filter(({ kind }) => kind === "required").map(({ name }) => name);
const compose = readCompose({
  file: COMPOSE_FILE,
  variables: Object.fromEntries(required.map((name) => [name, `the-${name}`])),
});
const services = Object.values(compose.services);
const lasting = services.filter(({ staysUp }) => staysUp);
const own = services.filter(({ image }) => image.startsWith("rollbook-airflow:"));
const ofAirflow = own.filter(({ name }) => name.startsWith("airflow-"));

async function runTool(name: string, args: readonly string[], environment: NodeJS.ProcessEnv = {}) {
  const { bin } = await installPython();
  const { status, stdout, stderr } = spawnSync(join(bin, name), args, {
    cwd: CHECKOUT,
    encoding: "utf8",
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...environment },
  });
  return { status, output: `${stdout}${stderr}` };
}

describe("docker-compose.yml", () => {
  test("is valid by the compose specification", { timeout: INSTALLED_WITHIN_MS }, async () => {
    const { status, output } = await runTool("check-jsonschema", [
      ...["--builtin-schema", "vendor.compose-spec", "docker-compose.yml", "monitoring/docker/compose.yml"],
    ]);
    expect(status, output).toBe(0);
  });

  test("has the services of AIRFLOW", () => {
    expect(services.map(({ name }) => name)).toEqual([
      "warehouse-db",
      "airflow-db",
      "warehouse-init",
      "console",
      "airflow-init",
      "airflow-apiserver",
      "airflow-scheduler",
      "airflow-dag-processor",
      "airflow-triggerer",
      "airflow-cleaner",
    ]);
    expect(services.filter(({ staysUp }) => !staysUp).map(({ name }) => name)).toEqual([
      "warehouse-init",
      "airflow-init",
    ]);
  });

  test.each(lasting)("$name restarts, has a healthcheck, limits, and time to end", ({ all }) => {
    expect(all).toMatchObject({
      restart: "unless-stopped",
      init: true,
      healthcheck: { test: [expect.stringMatching(/^CMD/), expect.anything(), ...anyRest(all)] },
      stop_grace_period: expect.stringMatching(/^\d+[sm]$/),
      pids_limit: expect.any(Number),
      mem_limit: expect.stringMatching(/^\d+g$/),
      logging: {
        driver: "json-file",
        options: { "max-size": expect.any(String), "max-file": expect.any(String) },
      },
    });
    expect(Number(all.cpus)).toBeGreaterThanOrEqual(0);
  });

  test.each(services)("$name comes by an exact tag", ({ image }) => {
    expect(image).toMatch(/:\d+\.\d+(\.\d+)?$/);
  });

  test("PostgreSQL 18 keeps its data where its image wants the volume", () => {
    for (const service of services.filter(({ image }) => image.startsWith("postgres:"))) {
      expect(service.image).toMatch(/^postgres:18\./);
      expect(service.mounts.map(({ target }) => target)).toEqual(["/var/lib/postgresql"]);
    }
  });

  test("only the API server and the console can be reached from outside, by default from this machine alone", () => {
    const published = services.filter(({ all }) => all.ports !== undefined);
    expect(published.map(({ name, all }) => [name, all.ports])).toEqual([
      ["console", ["127.0.0.1:8470:8470"]],
      ["airflow-apiserver", ["127.0.0.1:8080:8080"]],
    ]);
  });

  test("a port for the warehouse is a file of its own, on this machine alone, and nothing else", () => {
    expect(parseYaml(read("dags/docker/warehouse-port.yml"))).toEqual({
      services: {
        "warehouse-db": { ports: [`\${WAREHOUSE_BIND:-127.0.0.1}:\${WAREHOUSE_PORT:-5432}:5432`] },
      },
    });
  });

  test("Airflow's services run as an ordinary user of group 0", () => {
    for (const { all } of own) expect(all.user).toBe("50000:0");
  });

  test("all services of Airflow share their secrets", () => {
    const secrets = [
      "AIRFLOW__API_AUTH__JWT_SECRET",
      "AIRFLOW__API__SECRET_KEY",
      "AIRFLOW__CORE__FERNET_KEY",
      "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
    ];
    const values = ofAirflow.map(({ environment }) => secrets.map((name) => environment[name]));
    expect(values[0]?.every(Boolean)).toBe(true);
    for (const value of values) expect(value).toEqual(values[0]);
  });

  test("no secret has a default, nor stands in the file", () => {
    const secret = /PASSWORD|SECRET|_KEY/;
    expect(references.filter(({ name, kind }) => secret.test(name) && kind === "default")).toEqual([]);
    const literal = services.flatMap(({ name, environment }) =>
      Object.entries(environment)
        .filter(([variable]) => secret.test(variable) && !variable.endsWith("PASSWORDS_FILE"))
        .filter(([, value]) => !/^the-/.test(value))
        .map(([variable]) => `${name}: ${variable}`),
    );
    expect(literal).toEqual([]);
  });

  test.each([
    "AIRFLOW_CONN_ROLLBOOK_ALERTS",
    "AIRFLOW_CONN_ROLLBOOK_STEWARD",
    "ROLLBOOK_OPENLINEAGE_API_KEY",
  ])("%s is handed on where there is one, and else not defined", (name) => {
    expect(compose.services["airflow-scheduler"]?.environment).not.toHaveProperty(name);
    const variables = Object.fromEntries(required.map((one) => [one, "x"]));
    const set = readCompose({ file: COMPOSE_FILE, variables: { ...variables, [name]: "{}" } });
    expect(set.services["airflow-scheduler"]?.environment[name]).toBe("{}");
  });

  test("connections are JSON", () => {
    for (const { environment } of ofAirflow) {
      expect(JSON.parse(environment.AIRFLOW_CONN_ROLLBOOK_WAREHOUSE ?? "")).toMatchObject({
        conn_type: "postgres",
        host: "warehouse-db",
        password: "the-WAREHOUSE_PASSWORD",
      });
      expect(JSON.parse(environment.AIRFLOW_CONN_FS_DEFAULT ?? "")).toEqual({
        conn_type: "fs",
        extra: { path: "/" },
      });
    }
  });

  test("whoever waits for the inbox and whoever loads from it see it at the same place", () => {
    const seeing = services.filter(({ mounts }) => mounts.some(({ target }) => target === "/data/inbox"));
    expect(seeing.map(({ name }) => name)).toEqual(["console", "airflow-scheduler", "airflow-triggerer"]);
    for (const { mounts, environment } of seeing) {
      expect(mounts.find(({ kind }) => kind === "bind")).toEqual({
        kind: "bind",
        source: "./inbox",
        target: environment.ROLLBOOK_INBOX,
      });
    }
  });

  test("whoever loads sees the sources, where there are any, and cannot change them", () => {
    const variables = Object.fromEntries(required.map((name) => [name, "x"]));
    const withSources = { ...variables, ROLLBOOK_SOURCES_FOLDER: "./mine" };
    const { services: named } = readCompose({ file: COMPOSE_FILE, variables: withSources });
    const seeing = Object.values(named).filter(({ mounts }) =>
      mounts.some(({ target }) => target === "/opt/sources"),
    );
    expect(seeing.map(({ name }) => name)).toEqual(["console", "airflow-scheduler"]);
    for (const { all, environment } of seeing) {
      expect(all.volumes).toContainEqual({
        type: "bind",
        source: "./mine",
        target: environment.ROLLBOOK_SOURCES,
        read_only: true,
        bind: { create_host_path: true },
      });
    }
    expect(compose.services["airflow-scheduler"]?.environment.ROLLBOOK_SOURCES).toBe("");
  });

  test("the console cannot change the inbox", () => {
    expect(compose.services.console?.all.volumes).toContainEqual({
      type: "bind",
      source: "./inbox",
      target: "/data/inbox",
      read_only: true,
      bind: { create_host_path: false },
    });
  });

  test("Airflow's pages link to the console where it is published, unless another address is given, or none", () => {
    const addressWith = (variables: Readonly<Record<string, string>>) => {
      const secrets = Object.fromEntries(required.map((name) => [name, "x"]));
      const { services: named } = readCompose({
        file: COMPOSE_FILE,
        variables: { ...secrets, ...variables },
      });
      return named["airflow-apiserver"]?.environment.ROLLBOOK_CONSOLE_URL;
    };
    expect(addressWith({})).toBe("http://localhost:8470");
    expect(addressWith({ CONSOLE_PORT: "9000" })).toBe("http://localhost:9000");
    expect(addressWith({ ROLLBOOK_CONSOLE_URL: "https://console.example/" })).toBe(
      "https://console.example/",
    );
    expect(addressWith({ ROLLBOOK_CONSOLE_URL: "" })).toBe("");
  });

  test("every volume is declared and used", () => {
    const used = services.flatMap(({ mounts }) => mounts.filter(({ kind }) => kind === "volume"));
    expect(new Set(used.map(({ source }) => source))).toEqual(new Set(compose.volumes));
  });

  test("every path of the image in it exists in the checkout, and in what is sent to the builder", () => {
    const text = JSON.stringify(own.map(({ all }) => all));
    const paths = [...text.matchAll(/\/opt\/rollbook\/([\w./-]+)/g)].map(([, path = ""]) => path);
    expect(paths).toContain("dags/docker/airflow-init.sh");
    for (const path of paths) expect(existsSync(join(CHECKOUT, path)), path).toBe(true);
  });

  test("every command is one of the installed Airflow, or a script with a shell", {
    timeout: INSTALLED_WITHIN_MS,
  }, async () => {
    for (const { command, name } of own) {
      const [program, verb = ""] = command;
      if (program === "airflow") {
        const { status, output } = await runTool("airflow", [verb, "--help"], { AIRFLOW_HOME: makeFolder() });
        expect(status, `${name}: ${output}`).toBe(0);
      } else {
        expect(command, name).toEqual([
          "bash",
          expect.stringMatching(/^\/opt\/rollbook\/dags\/docker\/[\w-]+\.sh$/),
        ]);
      }
    }
  });

  test("depends only on services that are healthy or have ended well", () => {
    for (const { name, all } of own) {
      for (const [other, { condition }] of Object.entries(dependencies(all))) {
        const target = compose.services[other];
        expect(target, `${name}: ${other}`).toBeDefined();
        expect(condition, `${name}: ${other}`).toBe(
          target?.staysUp ? "service_healthy" : "service_completed_successfully",
        );
      }
    }
  });

  test("locks that a dead scheduler left in Airflow's database end by themselves", () => {
    expect(compose.services["airflow-db"]?.command).toContain("--idle_in_transaction_session_timeout=60s");
  });

  test("the warehouse's server has the settings of the embedded one, but for memory", async () => {
    const settings = new Map(
      compose.services["warehouse-db"]?.command
        .filter((part) => part.startsWith("--"))
        .map((part) => part.slice(2).split("=") as [string, string]),
    );
    expect(settings.size).toBeGreaterThan(5);
    settings.delete("shared_buffers");
    // Not the server of all tests, which has some settings of its own.
    const own = await openOwnServer();
    const { host, port, user } = own.server;
    const client = new pg.Client({ host, port, user, database: "postgres", ssl: false });
    try {
      await client.connect();
      for (const [name, value] of settings) {
        const { rows } = await client.query("select current_setting($1) as value", [name]);
        expect(rows, name).toEqual([{ value }]);
      }
    } finally {
      await client.end();
      await own.close();
    }
  });
});

function anyRest(all: Service["all"]): readonly unknown[] {
  const { healthcheck } = all as { healthcheck?: { test?: readonly unknown[] } };
  return (healthcheck?.test ?? []).slice(2).map(() => expect.anything());
}

function dependencies(all: Service["all"]): Readonly<Record<string, { readonly condition: string }>> {
  return (all.depends_on ?? {}) as Readonly<Record<string, { readonly condition: string }>>;
}

/** Looks each option up in the installed Airflow; tells those that it does not know, and those that are on their way out. */
const LOOK_UP = `
import json, os, sys, warnings
warnings.simplefilter("error")
from airflow.configuration import conf
described = conf.configuration_description
old = {tuple(key) for _, many in [(0, conf.deprecated_options)] for value in many.values() for key in [value[:2]]}
problems = []
for name in json.load(sys.stdin):
    section, option = (part.lower() for part in name.removeprefix("AIRFLOW__").split("__"))
    known = described.get(section, {}).get("options", {})
    if option not in known:
        problems.append(name + " is unknown")
    elif (section, option) in old or known[option].get("deprecated") or known[option].get("version_deprecated"):
        problems.append(name + " is deprecated")
print(json.dumps(problems))
`;

async function lookUp(names: readonly string[]): Promise<unknown> {
  const { python } = await installPython();
  const { status, stdout, stderr } = spawnSync(python, ["-c", LOOK_UP], {
    input: JSON.stringify(names),
    encoding: "utf8",
    env: { PATH: process.env.PATH, HOME: process.env.HOME, AIRFLOW_HOME: makeFolder() },
  });
  expect(status, stderr).toBe(0);
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
}

test(
  "every AIRFLOW__ variable is an option of the installed Airflow, and none is deprecated",
  async () => {
    const names = [...new Set(ofAirflow.flatMap(({ environment }) => Object.keys(environment)))];
    const options = names.filter((name) => name.startsWith("AIRFLOW__"));
    expect(options.length).toBeGreaterThan(15);
    expect(await lookUp(options)).toEqual([]);
    // And the check finds what it is to find.
    expect(await lookUp(["AIRFLOW__CORE__NO_SUCH", "AIRFLOW__CORE__SQL_ALCHEMY_CONN"])).toEqual([
      "AIRFLOW__CORE__NO_SUCH is unknown",
      "AIRFLOW__CORE__SQL_ALCHEMY_CONN is unknown",
    ]);
  },
  INSTALLED_WITHIN_MS,
);

describe("the Dockerfile", () => {
  const text = read(DOCKERFILE);

  test("has nothing that hadolint minds", { timeout: INSTALLED_WITHIN_MS }, async () => {
    const { status, output } = await runTool("hadolint", [DOCKERFILE]);
    expect(status, output).toBe(0);
  });

  test("copies only what is in the checkout", () => {
    const copies = [...text.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, sources = ""]) =>
      sources.split(" "),
    );
    expect(copies.length).toBeGreaterThan(4);
    for (const path of copies) expect(existsSync(join(CHECKOUT, path)), path).toBe(true);
  });

  test("names its images by exact tags, Airflow's as in the lock", () => {
    const images = [...text.matchAll(/^FROM (\S+)/gm)].map(([, image]) => image);
    const [, airflow] = /^apache-airflow==(\S+)/m.exec(read("dags/requirements.txt")) ?? [];
    expect(images).toEqual([
      expect.stringMatching(/^node:24\.\d+\.\d+-bookworm-slim$/),
      `apache/airflow:${airflow}-python3.13`,
    ]);
  });

  test("is the one that docker-compose.yml builds", () => {
    for (const { all } of own) expect(all.build).toEqual({ context: ".", dockerfile: DOCKERFILE });
  });
});

test(".dockerignore keeps out all but what the image needs: no secrets, no data, no packages, no tests", () => {
  const patterns = read(".dockerignore")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));
  expect(patterns[0]).toBe("*");
  expect(patterns.filter((pattern) => pattern.startsWith("!"))).toEqual([
    "!package.json",
    "!package-lock.json",
    "!LICENSE",
    "!build.ts",
    "!tsconfig.json",
    "!tsconfig.types.json",
    "!db",
    "!etl",
    "!console",
    "!dags",
  ]);
  for (const pattern of ["**/.env*", "**/node_modules", "**/__pycache__", "**/*.test.ts", "dags/local"]) {
    expect(patterns).toContain(pattern);
  }
  // What is in them matters after the last exception only.
  expect(patterns.findLastIndex((pattern) => pattern.startsWith("!"))).toBeLessThan(
    patterns.indexOf("**/.env*"),
  );
});

describe("write-env.sh", () => {
  /** Those that have a default, and say something else when they are set to nothing: docs/airflow.md. */
  const EMPTY_MEANS_SOMETHING = new Set(["ROLLBOOK_PROOF_SECONDS"]);
  /** Those whose default refers to another variable. */
  const REFERRING = new Set(["AIRFLOW_URL", "ROLLBOOK_CONSOLE_URL"]);
  const makeCheckout = () => {
    const folder = makeFolder();
    mkdirSync(join(folder, "dags/docker"), { recursive: true });
    cpSync(join(CHECKOUT, "dags/docker/write-env.sh"), join(folder, "dags/docker/write-env.sh"));
    return folder;
  };
  const run = (folder: string) =>
    // From elsewhere, and with a mask that forbids much.
    spawnSync("sh", ["-c", 'umask 077; exec sh "$0"', join(folder, "dags/docker/write-env.sh")], {
      cwd: "/",
      encoding: "utf8",
    });

  test("writes every variable that docker-compose.yml requires, and offers every other", () => {
    const folder = makeCheckout();
    const { status, stdout, stderr } = run(folder);
    expect(status, stderr).toBe(0);
    expect(stdout).toContain("AIRFLOW_ADMIN_PASSWORD in .env");
    const text = readFileSync(join(folder, ".env"), "utf8");
    const written = parseEnv(text) as Readonly<Record<string, string>>;
    expect(Object.keys(written).toSorted()).toEqual([...required, "AIRFLOW_UID"].toSorted());
    const offered = [...text.matchAll(/^#([A-Z][A-Z_]+)=/gm)].map(([, name]) => name);
    expect(new Set([...Object.keys(written), ...offered])).toEqual(
      new Set(references.map(({ name }) => name)),
    );
  });

  test("offers the defaults that docker-compose.yml has", () => {
    const folder = makeCheckout();
    run(folder);
    const text = readFileSync(join(folder, ".env"), "utf8");
    const examples = new Set([
      "ROLLBOOK_TIME_ZONE",
      "ROLLBOOK_DAY_STARTS",
      "ROLLBOOK_GRANULARITY",
      "AIRFLOW_CONN_ROLLBOOK_ALERTS",
      "AIRFLOW_CONN_ROLLBOOK_STEWARD",
      "ROLLBOOK_OPENLINEAGE_API_KEY",
    ]);
    const file = readFileSync(COMPOSE_FILE, "utf8");
    for (const [, name = "", value = ""] of text.matchAll(/^#([A-Z][A-Z_]+)=(.*)$/gm)) {
      // A default that refers to another is spelled out in .env.
      if (examples.has(name) || REFERRING.has(name)) continue;
      // Without the colon an empty value is one, and not the default.
      const operator = EMPTY_MEANS_SOMETHING.has(name) ? "-" : ":-";
      expect(file).toContain(`\${${name}${operator}${value}}`);
    }
  });

  test("makes secrets that are fresh, long and safe in URLs and JSON, in a file for its user alone", () => {
    const [one, other] = [0, 1].map(() => {
      const folder = makeCheckout();
      run(folder);
      expect(statSync(join(folder, ".env")).mode & 0o777).toBe(0o600);
      return parseEnv(readFileSync(join(folder, ".env"), "utf8")) as Readonly<Record<string, string>>;
    });
    for (const name of required) {
      expect(one?.[name]).not.toBe(other?.[name]);
      expect(one?.[name]).toMatch(name === "AIRFLOW_FERNET_KEY" ? /^[\w-]{43}=$/ : /^[A-Za-z0-9]{20,}$/);
    }
    const key = Buffer.from(one?.AIRFLOW_FERNET_KEY ?? "", "base64url");
    expect(key).toHaveLength(32);
    // Canonical, as Python's decoder wants it.
    expect(key.toString("base64").replaceAll("+", "-").replaceAll("/", "_")).toBe(one?.AIRFLOW_FERNET_KEY);
  });

  test("makes the inbox with its folders, for Airflow's user and group to write", () => {
    const folder = makeCheckout();
    run(folder);
    const uid = process.getuid?.() === 0 ? 50000 : process.getuid?.();
    expect(parseEnv(readFileSync(join(folder, ".env"), "utf8")).AIRFLOW_UID).toBe(String(uid));
    for (const path of ["inbox", "inbox/archive", "inbox/rejected"]) {
      const { mode, uid: owner } = statSync(join(folder, path));
      expect(mode & 0o070, path).toBe(0o070);
      expect(owner, path).toBe(uid);
    }
  });

  test("leaves an .env that is there as it is, and says so", () => {
    const folder = makeCheckout();
    run(folder);
    const before = readFileSync(join(folder, ".env"), "utf8");
    const { status, stderr } = run(folder);
    expect(status).toBe(1);
    expect(stderr).toContain("there is an .env already");
    expect(readFileSync(join(folder, ".env"), "utf8")).toBe(before);
    expect(readdirSync(folder).toSorted()).toEqual([".env", "dags", "inbox"]);
  });
});

test("the scripts are POSIX shell, and can be run", () => {
  const folder = join(CHECKOUT, "dags/docker");
  const scripts = readdirSync(folder).filter((name) => name.endsWith(".sh"));
  expect(scripts.length).toBeGreaterThan(3);
  for (const name of scripts) {
    expect(statSync(join(folder, name)).mode & 0o111, name).not.toBe(0);
    expect(read(`dags/docker/${name}`), name).toMatch(/^#!\/bin\/sh\n/);
    const { status, stderr } = spawnSync("sh", ["-n", join(folder, name)], { encoding: "utf8" });
    expect(status, stderr).toBe(0);
  }
});
