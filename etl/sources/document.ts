/** Reads the text of a YAML file as plain data of texts, lists and maps, with the line of each. */
import { Composer, isAlias, isMap, isScalar, isSeq, LineCounter, type Node, type Pair, Parser } from "yaml";

/** Every scalar is the text that stands there: `0` is "0", `007` is "007", `true` is "true". */
export type Plain = string | null | readonly Plain[] | PlainMap;
/** Without a prototype. */
export interface PlainMap {
  readonly [key: string]: Plain;
}

/** Keys and, in lists, indices from 0. */
export type Path = readonly (string | number)[];

export interface Fault {
  /** From 1. */
  readonly line: number;
  readonly path: Path;
  /** What is wrong, and what to do. */
  readonly message: string;
}

export interface SourceDocument {
  /** Null where nothing stands. */
  readonly value: Plain;
  readonly faults: readonly Fault[];
  /** Whether it is YAML at all; if it is not, the value is of no use. */
  readonly readable: boolean;
  /** The line of a key or an entry; where there is none, that of the map or list that lacks it. */
  readonly lineOf: (path: Path) => number;
}

/** A source has three levels: its keys, theirs, and lists. The composer calls itself for each, and must not run out of stack. */
const MAX_DEPTH = 16;

export function readDocument(text: string): SourceDocument {
  const lines = new LineCounter();
  const lineAt = (offset: number) => lines.linePos(offset).line || 1;
  const tokens = [...new Parser(lines.addNewLine).parse(text)];
  if (isTooDeep(tokens)) {
    return unreadable([{ line: 1, path: [], message: "is nested too deep: a source has three levels" }]);
  }
  const options = { schema: "failsafe", prettyErrors: false, uniqueKeys: false } as const;
  const [document, second] = [...new Composer(options).compose(tokens)];
  if (document === undefined) return { value: null, faults: [], readable: true, lineOf: () => 1 };
  const faults = document.errors.map(({ pos, message }) => ({
    line: lineAt(pos[0]),
    path: [],
    message: `is not YAML: ${message}`,
  }));
  if (second !== undefined) {
    const message = "a second YAML document begins here: write one source per file, without a line ---";
    faults.push({ line: lineAt(second.range[0]), path: [], message });
  }
  if (faults.length > 0) return unreadable(faults);
  const root = document.contents as Node | null;
  const plain = readNode(root, [], lineAt);
  return { ...plain, readable: true, lineOf: (path) => findLine(root, path, lineAt) };
}

function unreadable(faults: readonly Fault[]): SourceDocument {
  return { value: null, faults, readable: false, lineOf: () => 1 };
}

/** A token of the parser, as far as its depth is asked: loops, because it may be deeper than the stack. */
interface Token {
  readonly value?: unknown;
  readonly items?: readonly { readonly key?: unknown; readonly value?: unknown }[];
}

function isTooDeep(tokens: readonly unknown[]): boolean {
  const isToken = (one: unknown): one is Token => typeof one === "object" && one !== null;
  let level = tokens.filter(isToken);
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > MAX_DEPTH) return true;
    level = level
      .flatMap(({ value, items = [] }) => [value, ...items.flatMap((item) => [item.key, item.value])])
      .filter(isToken);
  }
  return false;
}

type LineAt = (offset: number) => number;

interface Reading {
  readonly value: Plain;
  readonly faults: readonly Fault[];
}

function readNode(node: Node | null, path: Path, lineAt: LineAt): Reading {
  if (node === null) return { value: null, faults: [] };
  const fault = (message: string) => ({
    value: null,
    faults: [{ line: lineAt(node.range?.[0] ?? 0), path, message }],
  });
  if (isAlias(node)) return fault("aliases (*name) are not read: write the value itself");
  if ("anchor" in node && node.anchor !== undefined) {
    return fault("anchors (&name) are not read: write the value wherever it is needed");
  }
  if (node.tag !== undefined) return fault("tags (!name) are not read: write the value without one");
  if (isScalar(node)) {
    const isEmpty = node.type === "PLAIN" && node.source === "";
    return { value: isEmpty ? null : String(node.value), faults: [] };
  }
  if (isSeq(node)) {
    const items = node.items.map((item, index) => readNode(item as Node | null, [...path, index], lineAt));
    return { value: items.map(({ value }) => value), faults: items.flatMap(({ faults }) => faults) };
  }
  return isMap(node) ? readMap(node.items as MapPair[], path, lineAt) : fault("is not read here");
}

type MapPair = Pair<Node, Node | null>;

function readMap(pairs: readonly MapPair[], path: Path, lineAt: LineAt): Reading {
  const map: Record<string, Plain> = Object.create(null);
  const faults: Fault[] = [];
  for (const { key, value } of pairs) {
    const line = lineAt(key?.range?.[0] ?? 0);
    const name = keyOf(key);
    if (name === undefined) {
      faults.push({ line, path, message: "a key must be a plain text, without anchor or tag" });
      continue;
    }
    const below = [...path, name];
    if (name in map) {
      faults.push({
        line,
        path: below,
        message: "the key is there twice: remove one, or put its values into a list",
      });
      continue;
    }
    const reading = readNode(value, below, lineAt);
    map[name] = reading.value;
    faults.push(...reading.faults);
  }
  return { value: map, faults };
}

function keyOf(node: Node | null): string | undefined {
  const isText = isScalar(node) && node.anchor === undefined && node.tag === undefined;
  return isText ? String(node.value) : undefined;
}

function findLine(root: Node | null, path: Path, lineAt: LineAt): number {
  let node = root;
  let at = root?.range?.[0] ?? 0;
  for (const step of path) {
    let next: Node | null | undefined;
    if (isMap(node)) {
      const pair = (node.items as MapPair[]).find(({ key }) => keyOf(key) === step);
      at = pair?.key.range?.[0] ?? at;
      next = pair?.value;
    } else if (isSeq(node) && typeof step === "number") {
      next = node.items[step] as Node | null | undefined;
      at = next?.range?.[0] ?? at;
    }
    if (!next) break;
    node = next;
  }
  return lineAt(at);
}
