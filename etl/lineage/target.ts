/** Where lineage is sent, as the environment says. */
import type { Environment } from "../../db/connection/environment.ts";
import { RollbookError } from "../../db/errors.ts";

/** A run of a scheduler, of which ours are a part. */
export interface Parent {
  readonly namespace: string;
  readonly job: string;
  readonly runId: string;
}

export interface LineageTarget {
  /** A receiver, whole with its endpoint, or a file that events are appended to. */
  readonly url: URL;
  /** Sent as `Authorization: Bearer`. */
  readonly apiKey: string | undefined;
  /** Of our jobs. */
  readonly namespace: string;
  readonly parent: Parent | undefined;
}

/** Where OpenLineage's clients send to, below the URL. */
const ENDPOINT = "api/v1/lineage";

/**
 * Reads `ROLLBOOK_OPENLINEAGE_URL`, and with it `..._API_KEY`, `..._ENDPOINT`, `..._NAMESPACE` and `..._PARENT`. Without
 * it nothing is sent.
 *
 * @throws RollbookError `configuration`, which repeats no value: a key may be in one
 */
export function readLineageTarget(environment: Environment): LineageTarget | undefined {
  const { ROLLBOOK_OPENLINEAGE_URL: given } = environment;
  if (!given) return undefined;
  const url = URL.canParse(given) ? new URL(given) : undefined;
  if (url === undefined || !/^(https?|file):$/.test(url.protocol)) {
    throw wrong("URL", "is no URL of http, https or file. For example: http://localhost:5000");
  }
  if (url.protocol === "file:" && url.host !== "") {
    throw wrong("URL", "names a host before the file. For example: file:///var/log/lineage.jsonl");
  }
  if (url.username !== "" || url.password !== "") {
    throw wrong("URL", "holds a user or a password. Give a key in ROLLBOOK_OPENLINEAGE_API_KEY instead");
  }
  if (url.protocol !== "file:") {
    url.pathname = `${url.pathname.replace(/\/+$/, "")}/${readEndpoint(environment)}`;
  }
  return {
    url,
    apiKey: readApiKey(environment),
    namespace: environment.ROLLBOOK_OPENLINEAGE_NAMESPACE || "rollbook",
    parent: readParent(environment),
  };
}

function readEndpoint({ ROLLBOOK_OPENLINEAGE_ENDPOINT: given }: Environment): string {
  return (given || ENDPOINT).replace(/^\/+/, "");
}

function readApiKey({ ROLLBOOK_OPENLINEAGE_API_KEY: given }: Environment): string | undefined {
  if (!given) return undefined;
  if (!/^[\x21-\x7e]+$/.test(given))
    throw wrong("API_KEY", "holds a blank, or a character that no header takes");
  return given;
}

/** In the form of Airflow's macro `lineage_parent_id`. The name of a job may hold slashes. */
function readParent({ ROLLBOOK_OPENLINEAGE_PARENT: given }: Environment): Parent | undefined {
  if (!given) return undefined;
  const [, namespace, job, runId] = PARENT.exec(given) ?? [];
  if (namespace === undefined || job === undefined || runId === undefined) {
    throw wrong("PARENT", "is not of the form NAMESPACE/JOB/RUN, where RUN is a UUID");
  }
  return { namespace, job, runId };
}

const PARENT = /^([^/]+)\/(.+)\/([\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12})$/i;

function wrong(name: string, why: string): RollbookError {
  return new RollbookError({
    code: "configuration",
    message: `ROLLBOOK_OPENLINEAGE_${name} ${why}. Nothing was done.`,
  });
}
