// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are what Docker Compose puts variables into
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { findReferences, interpolate, readCompose } from "./compose.ts";
import { makeFolder } from "./testing.ts";

describe("variables are put in as Docker Compose does it", () => {
  const variables = { NAME: "value", EMPTY: "", OTHER: "other" };
  test.each([
    ["no variable", "no variable"],
    ["$NAME and ${NAME}", "value and value"],
    ["${MISSING}|$MISSING|", "||"],
    ["${MISSING:-default}", "default"],
    ["${EMPTY:-default}", "default"],
    ["${EMPTY-default}", ""],
    ["${MISSING-default}", "default"],
    ["${NAME:-default}", "value"],
    ["${NAME:+set}|${EMPTY:+set}|${EMPTY+set}|${MISSING+set}", "set||set|"],
    ["${NAME:?needed}", "value"],
    ["${EMPTY?needed}", ""],
    ["${MISSING:-http://localhost:${PORT:-8080}}/", "http://localhost:8080/"],
    ["${MISSING:-${OTHER}}", "other"],
    ["${MISSING:-}", ""],
    ['{"a": {"b": "${NAME}"}}', '{"a": {"b": "value"}}'],
    ["$$(find $${NAME})", "$(find ${NAME})"],
  ])("%s", (text, expected) => {
    expect(interpolate(text, variables)).toBe(expected);
  });

  test("a required variable that is missing is an error with the file's message", () => {
    expect(() => interpolate("${MISSING:?run write-env.sh}", variables)).toThrow(
      "variable MISSING is required: run write-env.sh",
    );
    expect(() => interpolate("${EMPTY:?}", variables)).toThrow("variable EMPTY is required");
  });

  test.each(["$ alone", "${1}", "${NAME:x}", "${NAME", "${NAME!x}"])("%s is an error", (text) => {
    expect(() => interpolate(text, variables)).toThrow("docker-compose.yml: ");
  });

  test("a default that is not needed needs nothing", () => {
    expect(interpolate("${NAME:-${MISSING:?never}}", variables)).toBe("value");
  });
});

describe("a compose file", () => {
  const text = `
x-common: &common
  image: an-image:1
  environment: &environment
    ONE: \${ONE:?needed}
    TWO: 2
    GIVEN:
    ABSENT:
services:
  first:
    <<: *common
    restart: unless-stopped
    command: ["run", "\${THING:-it}"]
    volumes: ["data:/var/data", { type: bind, source: "./in box", target: /data/inbox }]
  second:
    <<: [*common, { restart: "no" }]
    environment:
      <<: *environment
      TWO: two
volumes:
  data:
`;
  const write = (content: string) => {
    const file = join(makeFolder(), "docker-compose.yml");
    writeFileSync(file, content);
    return file;
  };

  test("is read with anchors, merge keys and variables", () => {
    const { services, volumes } = readCompose({ file: write(text), variables: { ONE: "1", GIVEN: "given" } });
    expect(services.first).toMatchObject({
      image: "an-image:1",
      command: ["run", "it"],
      environment: { ONE: "1", TWO: "2", GIVEN: "given" },
      mounts: [
        { kind: "volume", source: "data", target: "/var/data" },
        { kind: "bind", source: "./in box", target: "/data/inbox" },
      ],
      staysUp: true,
    });
    expect(services.second).toMatchObject({
      environment: { ONE: "1", TWO: "two", GIVEN: "given" },
      staysUp: false,
    });
    expect(services.first?.environment).not.toHaveProperty("ABSENT");
    expect(volumes).toEqual(["data"]);
  });

  test("tells what variables it refers to", () => {
    expect(findReferences(write(text)).toSorted((one, other) => (one.name < other.name ? -1 : 1))).toEqual([
      { name: "ABSENT", kind: "bare" },
      { name: "GIVEN", kind: "bare" },
      { name: "ONE", kind: "required" },
      { name: "THING", kind: "default" },
    ]);
  });

  test("with a command that is a text is refused", () => {
    const file = write("services: { one: { command: sh -c x } }");
    expect(() => readCompose({ file, variables: {} })).toThrow("the command of one must be a list of texts");
  });
});
