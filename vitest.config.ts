import { defineConfig } from "vitest/config";

/** What takes minutes, or needs more than Node: Python for Airflow and a data set, PostgreSQL's client programs for recovery, PgBouncer, Prometheus. */
const LONG = [
  "dags/**/*.test.ts",
  "etl/testing/scenarios/{certificate,history,pooler,undo_crash,recovery/**/*}.test.ts",
  "bench/bench.test.ts",
  "bench/proof/{endure,simulate,tills}.test.ts",
  "bench/proof/fuzz/*.test.ts",
  "monitoring/prometheus.test.ts",
  ".ci/python_licences.test.ts",
];

/** dist/ as the sources are now, and a server. */
const GLOBAL_SETUP = ["etl/testing/build.ts", "db/testing/global_setup.ts"];

export default defineConfig({
  test: {
    testTimeout: 120_000,
    hookTimeout: 120_000,
    maxWorkers: 2,
    projects: [
      {
        extends: true,
        // `npm test`
        test: {
          name: "quick",
          include: ["{db,etl,console,bench,monitoring,.ci}/**/*.test.ts"],
          exclude: LONG,
          globalSetup: GLOBAL_SETUP,
        },
      },
      {
        extends: true,
        // `npm run test:all`: this, and what is looked at in a real browser: the benchmark's report, the console
        test: { name: "long", include: LONG, globalSetup: GLOBAL_SETUP },
      },
      {
        extends: true,
        test: {
          name: "browser",
          include: ["bench/report/browser/**/*.browser.ts", "console/**/*.browser.ts"],
          // A browser beside busy cores.
          testTimeout: 300_000,
          globalSetup: GLOBAL_SETUP,
        },
      },
    ],
  },
});
