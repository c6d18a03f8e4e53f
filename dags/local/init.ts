/** The services that do their work once, at the start: Airflow's database, and the warehouse. */
import type { ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CHECKOUT } from "./checkout.ts";
import { aborted } from "./errors.ts";
import { ended } from "./processes.ts";
import { serviceFailed } from "./services.ts";

/** Both at the same time. */
const INITS = ["airflow-init", "warehouse-init"] as const;

/**
 * Runs them and waits. What makes Airflow's database takes long, and is left out when it was done for the same version and settings.
 *
 * @throws AirflowError `service_failed`, `aborted`
 */
export async function initialize(options: {
  /** The folder of Airflow's own database. */
  readonly postgres: string;
  readonly launch: (name: string) => ChildProcess;
  readonly environmentOf: (name: string) => Readonly<Record<string, string>>;
  readonly logOf: (name: string) => string;
  readonly signal?: AbortSignal | undefined;
  readonly onLog?: ((message: string) => void) | undefined;
}): Promise<void> {
  const { postgres, launch, environmentOf, logOf, signal, onLog } = options;
  const airflow = environmentOf("airflow-init");
  // Kept with the data that it speaks of, and gone with it.
  const stamp = join(postgres, "airflow-init");
  const key = stampKey(airflow);
  const passwords = airflow.AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE ?? "";
  const done = existsSync(stamp) && readFileSync(stamp, "utf8") === key && existsSync(passwords);
  const names = INITS.filter((name) => name !== "airflow-init" || !done);
  onLog?.(done ? "making the warehouse ready" : "making Airflow's database and the warehouse ready");
  await Promise.all(
    names.map(async (name) => {
      const code = await ended(launch(name), signal);
      if (signal?.aborted) throw aborted(signal.reason);
      if (code !== 0) throw serviceFailed(name, logOf(name));
    }),
  );
  if (!done) writeFileSync(stamp, key);
}

/** Changes with whatever makes airflow-init do something else. */
function stampKey(environment: Readonly<Record<string, string>>): string {
  return createHash("sha256")
    .update(readFileSync(join(CHECKOUT, "dags/requirements.txt")))
    .update(readFileSync(join(CHECKOUT, "dags/docker/airflow-init.sh")))
    .update(JSON.stringify([environment.ROLLBOOK_POOL_SLOTS, environment.AIRFLOW_ADMIN_PASSWORD]))
    .digest("hex");
}
