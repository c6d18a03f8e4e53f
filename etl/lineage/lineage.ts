/**
 * Tells OpenLineage what became of loads, refreshes, undos and proofs: after they have ended, so that nothing is
 * told of what was rolled back. Each is a run, told by two events: that it began, and how it ended.
 */
import { v7 as timeBasedUuid } from "uuid";
import type { Connection } from "../../db/connection/libpq.ts";
import { RollbookError, rootCause } from "../../db/errors.ts";
import { readRelease } from "../version.ts";
import { type Place, placeOf } from "./datasets.ts";
import { type Dataset, facet, ownFacet, PRODUCER, RUN_EVENT, type RunEvent } from "./event.ts";
import type { Outcome } from "./outcome.ts";
import { openSender } from "./sender.ts";
import type { LineageTarget } from "./target.ts";

export type Job = "load" | "refresh" | "undo" | "verify";

export interface Lineage {
  /**
   * Does the work, and tells of it afterwards; nothing where `describe` returns nothing, and where the work was
   * interrupted. What the work throws is thrown on.
   */
  readonly follow: <T>(
    job: Job,
    work: () => Promise<T>,
    describe: (place: Place, result: T) => Outcome | undefined,
  ) => Promise<T>;
  /** Waits a little for what is being sent, and gives up the rest. */
  readonly close: () => Promise<void>;
}

/** Where nobody wants to know. */
export const NO_LINEAGE: Lineage = { follow: (_job, work) => work(), close: async () => {} };

/** @param options.warn takes a message when events do not arrive, once */
export function openLineage(options: {
  readonly target: LineageTarget;
  readonly connection: Connection;
  readonly signal: AbortSignal;
  readonly warn: (message: string) => void;
}): Lineage {
  const { target, signal } = options;
  const place = placeOf(options.connection);
  const sender = openSender(options);
  const tell = (job: Job, began: Date, describe: () => Outcome | undefined) => {
    try {
      const outcome = describe();
      if (outcome === undefined) return;
      sender.send(eventsOf({ job, place, target, began, ended: new Date(), outcome }));
    } catch (error) {
      // A mistake in here must not fail what is committed.
      options.warn(`lineage cannot be told: ${String(error)}`);
    }
  };
  return {
    close: sender.close,
    follow: async (job, work, describe) => {
      const began = new Date();
      const result = await work().catch((error: unknown) => {
        if (!signal.aborted) tell(job, began, () => failed(error));
        throw error;
      });
      tell(job, began, () => describe(place, result));
      return result;
    },
  };
}

function failed(error: unknown): Outcome {
  const cause = error instanceof RollbookError ? error : rootCause(error);
  return { inputs: [], outputs: [], more: {}, error: cause instanceof Error ? cause.message : String(cause) };
}

/** The two events of a run. What it reads and writes is known at its end only. */
function eventsOf(run: {
  readonly job: Job;
  readonly place: Place;
  readonly target: LineageTarget;
  readonly began: Date;
  readonly ended: Date;
  readonly outcome: Outcome;
}): readonly RunEvent[] {
  const { job, place, target, began, ended, outcome } = run;
  // Nothing is told twice, so a run needs no id that others could find again.
  const runId = timeBasedUuid({ msecs: began.getTime() });
  const { parent } = target;
  const runFacets = {
    ...facet("processing_engine", { name: "Rollbook", version: readRelease() }),
    ...(parent &&
      facet("parent", {
        run: { runId: parent.runId },
        job: { namespace: parent.namespace, name: parent.job },
      })),
  };
  const common = {
    job: {
      namespace: target.namespace,
      name: `${place.database}.${job}`,
      facets: facet("jobType", {
        processingType: "BATCH",
        integration: "ROLLBOOK",
        jobType: job.toUpperCase(),
      }),
    },
    producer: PRODUCER,
    schemaURL: RUN_EVENT,
  };
  const none: readonly Dataset[] = [];
  const { inputs, outputs, more, error } = outcome;
  return [
    {
      eventType: "START",
      eventTime: began.toISOString(),
      run: { runId, facets: runFacets },
      ...common,
      inputs: none,
      outputs: none,
    },
    {
      eventType: error === undefined ? "COMPLETE" : "FAIL",
      eventTime: ended.toISOString(),
      run: {
        runId,
        facets: {
          ...runFacets,
          ...ownFacet(more),
          ...(error !== undefined &&
            facet("errorMessage", { message: error, programmingLanguage: "TypeScript" })),
        },
      },
      ...common,
      inputs,
      outputs,
    },
  ];
}
