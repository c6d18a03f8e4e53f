import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { parse } from "yaml";

const CHECKOUT = fileURLToPath(new URL("../..", import.meta.url));
const read = (path: string) => parse(readFileSync(join(CHECKOUT, path), "utf8"), { merge: true });

interface Service {
  readonly image: string;
  readonly volumes: readonly string[];
  readonly ports: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

const compose: {
  readonly services: Readonly<Record<string, Service>>;
  readonly secrets: unknown;
  readonly volumes: Readonly<Record<string, null>>;
} = read("monitoring/docker/compose.yml");
const services = Object.entries(compose.services);

test.each(services)(
  "%s starts with the profile alone, restarts, has a healthcheck, limits, and time to end",
  (_, all) => {
    expect(all).toMatchObject({
      profiles: ["monitoring"],
      restart: "unless-stopped",
      init: true,
      healthcheck: { test: expect.arrayContaining(["CMD"]) },
      stop_grace_period: expect.stringMatching(/^\d+[sm]$/),
      cpus: expect.any(Number),
      pids_limit: expect.any(Number),
      mem_limit: expect.stringMatching(/^\d+g$/),
      logging: {
        driver: "json-file",
        options: { "max-size": expect.any(String), "max-file": expect.any(String) },
      },
    });
    expect(all.image).toMatch(/:v?\d+\.\d+\.\d+$/);
  },
);

test.each(services)(
  "%s is reached from this machine alone, and mounts what there is, read-only",
  (_, { ports, volumes }) => {
    for (const port of ports) expect(port).toMatch(/^\$\{\w+_BIND:-127\.0\.0\.1\}:\$\{\w+_PORT:-\d+\}:\d+$/);
    const named = volumes.filter((volume) => !volume.startsWith("./"));
    expect(named.filter((volume) => !((volume.split(":")[0] ?? "") in compose.volumes))).toEqual([]);
    for (const mount of volumes.filter((volume) => volume.startsWith("./"))) {
      const [path = "", , mode] = mount.split(":");
      expect([path, existsSync(join(CHECKOUT, path)), mode]).toEqual([path, true, "ro"]);
    }
  },
);

test("no secret stands in a file, and none has a default", () => {
  expect(compose.secrets).toEqual({ "console-password": { environment: "AIRFLOW_ADMIN_PASSWORD" } });
  expect(compose.services.grafana?.environment?.GF_SECURITY_ADMIN_PASSWORD).toMatch(
    /^\$\{AIRFLOW_ADMIN_PASSWORD:\?/,
  );
});

test("Prometheus runs with the rules, asks as often as beside a console, and Grafana asks it", () => {
  const [within, beside] = [read("monitoring/docker/prometheus.yml"), read("monitoring/prometheus.yml")];
  const { scrape_configs: scraped, ...rest } = within;
  const { scrape_configs: _, ...other } = beside;
  expect(rest).toEqual(other);
  expect(scraped).toMatchObject([{ job_name: "rollbook", static_configs: [{ targets: ["console:8470"] }] }]);
  expect(read("monitoring/docker/datasource.yml").datasources).toMatchObject([
    { url: "http://prometheus:9090" },
  ]);
});
