/** The embedded server as a program of its own, which tests build (etl/testing/build.ts), and what it throws. */
export { openEmbeddedServer } from "../embedded/server.ts";
export { RollbookError } from "../errors.ts";
