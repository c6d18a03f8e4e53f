import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["{db,etl,dags,bench,.ci}/**/*.test.ts"],
    globalSetup: ["db/testing/server.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    maxWorkers: 2,
  },
});
