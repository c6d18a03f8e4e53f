import type { Config } from "drizzle-kit";

/**
 * For drizzle-kit: `npx drizzle-kit studio` shows the database, `npx drizzle-kit generate --custom` makes a
 * new, empty migration.
 */
export default {
  dialect: "postgresql",
  schema: "./db/schema.ts",
  out: "./db/migrations",
  schemaFilter: ["warehouse", "reports"],
  migrations: { schema: "warehouse", table: "migrations" },
  dbCredentials: { url: process.env.DATABASE_URL ?? "" },
} satisfies Config;
