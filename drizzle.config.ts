import type { Config } from "drizzle-kit";

/** For drizzle-kit: a look into the database (`npx drizzle-kit studio`), and new empty migrations (`npx drizzle-kit generate --custom`). */
export default {
  dialect: "postgresql",
  schema: "./db/schema.ts",
  out: "./db/migrations",
  schemaFilter: ["warehouse", "reports"],
  migrations: { schema: "warehouse", table: "migrations" },
  dbCredentials: { url: process.env.DATABASE_URL ?? "" },
} satisfies Config;
