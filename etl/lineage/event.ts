/**
 * OpenLineage events, as plain JSON.
 *
 * Source: the specification 2-0-2, https://openlineage.io/spec/2-0-2/OpenLineage.json, and the schemas of its facets.
 */
import { readRelease } from "../version.ts";

/** What is said about a run, a job or a dataset under one name. */
export interface Facet {
  readonly _producer: string;
  readonly _schemaURL: string;
  readonly [member: string]: unknown;
}

export type Facets = Readonly<Record<string, Facet>>;

export interface Dataset {
  readonly namespace: string;
  readonly name: string;
  readonly facets?: Facets;
  /** Of an input: what was true of it when it was read. */
  readonly inputFacets?: Facets;
  /** Of an output: what was written. */
  readonly outputFacets?: Facets;
}

export interface RunEvent {
  readonly eventType: "START" | "COMPLETE" | "FAIL";
  /** ISO 8601. */
  readonly eventTime: string;
  readonly run: { readonly runId: string; readonly facets: Facets };
  readonly job: { readonly namespace: string; readonly name: string; readonly facets: Facets };
  readonly inputs: readonly Dataset[];
  readonly outputs: readonly Dataset[];
  readonly producer: string;
  readonly schemaURL: string;
}

const SPEC = "https://openlineage.io/spec";
export const RUN_EVENT = `${SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent`;

/** The facets that are used: by name, the version and the title of the schema. */
const SCHEMAS = {
  dataQualityAssertions: ["1-1-0", "DataQualityAssertionsDatasetFacet"],
  dataSource: ["1-0-1", "DatasourceDatasetFacet"],
  errorMessage: ["1-0-1", "ErrorMessageRunFacet"],
  hierarchy: ["1-0-0", "HierarchyDatasetFacet"],
  inputStatistics: ["1-0-0", "InputStatisticsInputDatasetFacet"],
  jobType: ["2-0-4", "JobTypeJobFacet"],
  outputStatistics: ["1-0-2", "OutputStatisticsOutputDatasetFacet"],
  parent: ["1-2-0", "ParentRunFacet"],
  processing_engine: ["1-1-1", "ProcessingEngineRunFacet"],
  schema: ["1-2-0", "SchemaDatasetFacet"],
  version: ["1-0-1", "DatasetVersionDatasetFacet"],
} as const;

/** Who says so: a URI. */
export const PRODUCER = `urn:rollbook:${readRelease()}`;

/** A facet of the specification under its name, to be put among others. */
export function facet(name: keyof typeof SCHEMAS, members: Readonly<Record<string, unknown>>): Facets {
  const [version, title] = SCHEMAS[name];
  const _schemaURL = `${SPEC}/facets/${version}/${title}.json#/$defs/${title}`;
  return { [name]: { _producer: PRODUCER, _schemaURL, ...members } };
}

/** What the specification has no facet for; it lets each facet of a run have any members. */
export function ownFacet(members: Readonly<Record<string, unknown>>): Facets {
  const _schemaURL = `${SPEC}/2-0-2/OpenLineage.json#/$defs/RunFacet`;
  return { rollbook_run: { _producer: PRODUCER, _schemaURL, ...members } };
}
