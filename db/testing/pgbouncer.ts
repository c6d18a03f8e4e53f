/** For tests: PgBouncer before the server of the tests. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chownSync, existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { inject, onTestFinished } from "vitest";
import { asAccount } from "../embedded/programs.ts";
import { makeFolder } from "./folder.ts";
import { until } from "./own_server.ts";

const PORT = 6432;

export interface Pooler {
  /** The folder of its socket. */
  readonly host: string;
  readonly port: number;
  readonly user: string;
}

/**
 * Starts PgBouncer, and ends it when the test has finished. It listens on a Unix socket only.
 *
 * @param settings lines of its configuration, for example `pool_mode`
 */
export async function startPgBouncer(settings: Readonly<Record<string, string | number>>): Promise<Pooler> {
  const program = findPgBouncer();
  const { host, port, user } = inject("postgres");
  // It refuses to run as root, and the socket of the server is open to its owner only.
  const { uid, gid } = statSync(host);
  const folder = makeFolder();
  const [file, log] = [join(folder, "pgbouncer.ini"), join(folder, "pgbouncer.log")];
  const lines = Object.entries({
    listen_addr: "",
    listen_port: PORT,
    unix_socket_dir: folder,
    auth_type: "any",
    logfile: log,
    ignore_startup_parameters: "extra_float_digits",
    ...settings,
  }).map(([name, value]) => `${name} = ${value}`);
  writeFileSync(
    file,
    [`[databases]`, `* = host=${host} port=${port} user=${user}`, "[pgbouncer]", ...lines, ""].join("\n"),
  );
  for (const path of [folder, file]) chownSync(path, uid, gid);
  // In a checkout that only root can enter, so does the server run, and only root can reach its socket.
  const throughSetpriv = (statSync(dirname(host)).mode & 0o001) === 0;
  const account = process.getuid?.() === 0 ? { uid, gid, throughSetpriv } : undefined;
  const [command, args, ids] = asAccount(account, program, ["--quiet", file]);
  const child = spawn(command, args, { ...ids, cwd: "/", stdio: "ignore" });
  const ended = once(child, "exit");
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  await until("PgBouncer listens", () => {
    if (child.exitCode !== null) {
      throw new Error(`PgBouncer ended: ${existsSync(log) ? readFileSync(log, "utf8") : child.exitCode}`);
    }
    return existsSync(join(folder, `.s.PGSQL.${PORT}`));
  });
  return { host: folder, port: PORT, user };
}

/** `ROLLBOOK_PGBOUNCER`, else where packages put it. */
function findPgBouncer(): string {
  const folders = [...(process.env.PATH ?? "").split(delimiter).filter(Boolean), "/usr/sbin"];
  const paths = folders.map((folder) => join(folder, "pgbouncer"));
  const program = process.env.ROLLBOOK_PGBOUNCER ?? paths.find((path) => existsSync(path));
  if (program === undefined || !existsSync(program)) {
    throw new Error("no PgBouncer here: apt-get install pgbouncer, or set ROLLBOOK_PGBOUNCER");
  }
  return program;
}
