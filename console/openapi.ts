/** The description of the API, made of the schemas by which its answers are checked. */
import { toJsonSchema } from "@valibot/to-json-schema";
import type { GenericSchema } from "valibot";
import { EVENTS_PATH, REVISION_EVENT } from "./live.ts";
import { apiPath, type DefinedPage } from "./page.ts";

/** Source: OpenAPI 3.1.1, whose schemas are those of JSON Schema 2020-12. */
export function describeApi(pages: readonly DefinedPage[]): unknown {
  return {
    openapi: "3.1.1",
    info: {
      title: "Rollbook",
      version: "1",
      description:
        "What the pages of rollbook serve show, as JSON. Money is a text with two decimals, instants are ISO 8601 in the zone of the warehouse.",
    },
    paths: {
      ...Object.fromEntries(pages.map((page) => [pathOf(page), { get: describe(page) }])),
      [EVENTS_PATH]: { get: EVENTS },
    },
    components: { responses: { Failure: FAILURE } },
  };
}

const EVENTS = {
  summary: "When something has happened in the warehouse, as server-sent events.",
  responses: {
    200: {
      description: `Events ${REVISION_EVENT}, whose data is a text that is another one after each load, refresh, undo, decision, proof and closing: the present one first, then each new one. A stream ends after ten minutes.`,
      content: { "text/event-stream": { schema: { type: "string" } } },
    },
    default: { description: "Why there is none." },
  },
};

const FAILURE = {
  description: "Why there is no answer, and what to do.",
  content: {
    "application/json": {
      schema: {
        type: "object",
        required: ["error"],
        properties: {
          error: {
            type: "object",
            required: ["code", "message"],
            properties: { code: { type: "string" }, message: { type: "string" } },
          },
        },
      },
    },
  },
};

/** `/api/loads/{load}` */
function pathOf(page: DefinedPage): string {
  return apiPath(page).replace(/:(\w+)/g, "{$1}");
}

function describe(page: DefinedPage): unknown {
  return {
    summary: page.summary,
    parameters: describeQuery(page),
    responses: {
      200: { description: page.summary, content: { "application/json": { schema: schemaOf(page.answer) } } },
      default: { $ref: "#/components/responses/Failure" },
    },
  };
}

function describeQuery(page: DefinedPage): readonly unknown[] {
  const { properties = {}, required = [] } = schemaOf(page.query, "input");
  return Object.entries(properties).map(([name, schema]) => {
    const inPath = page.path.includes(`:${name}`);
    return { name, in: inPath ? "path" : "query", required: inPath || required.includes(name), schema };
  });
}

function schemaOf(schema: GenericSchema, typeMode: "input" | "output" = "output") {
  // A check that JSON Schema has no word for is still made; it is not described.
  const { $schema, ...described } = toJsonSchema(schema, {
    target: "draft-2020-12",
    typeMode,
    errorMode: "ignore",
  });
  return described;
}
