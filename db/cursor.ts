/** Reading the rows of a query one by one, so that memory does not grow with the result. */
import type { SQL } from "drizzle-orm";
import { PgDialect } from "drizzle-orm/pg-core";
import Cursor from "pg-cursor";
import { plainTypes, type Session } from "./client.ts";
import { LOST_CONNECTION } from "./errors.ts";

/** Rows fetched at a time. */
const ROWS_PER_FETCH = 1000;

/**
 * Reads a query's rows one by one, from a cursor. pg-query-stream does the same, but it waits for ever for
 * the end of its cursor when the connection breaks (4.17).
 */
export async function* streamRows<Row>(session: Session, query: SQL): AsyncGenerator<Row> {
  const { sql: text, params } = new PgDialect().sqlToQuery(query);
  const cursor = session.client.query(new Cursor<Row>(text, params, { types: plainTypes }));
  let broken = false;
  cursor.once("error", () => {
    broken = true;
  });
  let rows: Row[];
  do {
    rows = await fetchRows(session, cursor);
    let left = true;
    try {
      yield* rows;
      left = false;
    } finally {
      // The reader does not want the rest.
      if (left && !broken) await closeCursor(session, cursor);
    }
  } while (rows.length === ROWS_PER_FETCH);
}

/**
 * The cursor does not report a connection that breaks after its last row and before the server is ready again
 * (pg-cursor 2.22).
 */
function fetchRows<Row>({ client }: Session, cursor: Cursor<Row>): Promise<Row[]> {
  return new Promise((resolve, reject) => {
    const lose = () => reject(new Error(LOST_CONNECTION));
    client.once("end", lose);
    cursor.read(ROWS_PER_FETCH, (error: Error | undefined, rows) => {
      client.off("end", lose);
      if (error) reject(error);
      else resolve(rows);
    });
  });
}

/** A connection that breaks meanwhile never answers, so its end counts as an answer. */
async function closeCursor({ client }: Session, cursor: Cursor): Promise<void> {
  await new Promise<void>((resolve) => {
    client.once("end", resolve);
    cursor.close(() => {
      client.off("end", resolve);
      resolve();
    });
  });
}
