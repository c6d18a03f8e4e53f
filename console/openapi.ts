/** The description of the API, made of the schemas by which its answers are checked. */
import { toJsonSchema } from "@valibot/to-json-schema";
import type { GenericSchema } from "valibot";
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
    paths: Object.fromEntries(pages.map((page) => [pathOf(page), { get: describe(page) }])),
    components: { responses: { Failure: FAILURE } },
  };
}

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
