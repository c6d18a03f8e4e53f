/** How wide a terminal is. */

/** Where it is not known. */
export const USUAL_WIDTH = 80;

/** Characters in a line; undefined where the stream is no terminal: then nothing is cut or wrapped. */
export function widthOf(stream: NodeJS.WriteStream): number | undefined {
  return stream.isTTY ? stream.columns || USUAL_WIDTH : undefined;
}
