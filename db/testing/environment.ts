/** How a test tells a process of rollbook, or a client program of PostgreSQL, where a database is. */

/** The `PG*` variables of a database on a server of the tests, which has no encryption. */
export function environmentOf({
  host,
  port,
  user,
  database,
}: {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
}) {
  return {
    PGHOST: host,
    PGPORT: String(port),
    PGUSER: user,
    PGDATABASE: database,
    PGSSLMODE: "disable",
  };
}
