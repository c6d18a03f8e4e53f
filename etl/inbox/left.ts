/** Tells of what stays in an inbox: of each once, and again when it had gone meanwhile. */
import type { LeftFile } from "./list.ts";

export interface Teller {
  readonly tell: (left: LeftFile) => void;
  /** Forgets what is not there any more. */
  readonly forgetGone: (present: readonly { readonly name: string }[]) => void;
}

export function tellOnce(onLeft: (left: LeftFile) => void): Teller {
  const told = new Map<string, Set<LeftFile["reason"]>>();
  return {
    tell: (left) => {
      const reasons = told.get(left.name) ?? new Set();
      if (reasons.has(left.reason)) return;
      told.set(left.name, reasons.add(left.reason));
      onLeft(left);
    },
    forgetGone: (present) => {
      const names = new Set(present.map(({ name }) => name));
      for (const name of told.keys()) if (!names.has(name)) told.delete(name);
    },
  };
}
