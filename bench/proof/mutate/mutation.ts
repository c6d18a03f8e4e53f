/**
 * Single ways to break the product. Each must be noticed by the simulation, or by the tests named with it.
 */

export interface Mutation {
  /** What the broken product does. */
  readonly name: string;
  readonly file: string;
  /** A text that is in the file once, and what stands there instead. */
  readonly find: string;
  readonly replace: string;
  /** Tests that must notice what the simulation does not. */
  readonly tests: readonly string[];
  /** Left out of the simulation: it has no means to notice it. */
  readonly simulate?: false;
}
