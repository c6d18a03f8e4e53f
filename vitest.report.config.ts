import { defineConfig } from "vitest/config";

/** `npm run test:report`: the benchmark's report in a real browser. */
export default defineConfig({
  test: {
    include: ["bench/report/browser/**/*.browser.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
