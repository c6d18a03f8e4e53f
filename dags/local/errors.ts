/** What goes wrong around the local Airflow, by name; messages name the remedy. */

export type AirflowErrorCode =
  | "aborted"
  | "already_running"
  | "compose"
  | "configuration"
  | "install_failed"
  | "python_missing"
  | "rest"
  | "service_failed"
  | "timeout";

export class AirflowError extends Error {
  readonly code: AirflowErrorCode;

  constructor(options: {
    readonly code: AirflowErrorCode;
    readonly message: string;
    readonly cause?: unknown;
  }) {
    super(options.message, { cause: options.cause });
    this.name = "AirflowError";
    this.code = options.code;
  }
}

export function aborted(cause: unknown): AirflowError {
  return new AirflowError({ code: "aborted", message: "Airflow was told to stop", cause });
}
