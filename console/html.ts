/** HTML that escapes what comes from data. */
import { html, raw } from "hono/html";

/** Text that is HTML already. Whatever else stands in a template of `html` is escaped. */
export type Html = ReturnType<typeof html>;

export { html };

/** Takes a text as HTML. For what we made ourselves: plots. */
export function trusted(text: string): Html {
  return raw(text);
}

/** Pieces one after the other. */
export function join(pieces: readonly Html[]): Html {
  return html`${pieces}`;
}

export const NOTHING: Html = raw("");

/** An address with what it asks for; what is undefined is left out. */
export function addressWith(
  path: string,
  query: { readonly [name: string]: string | number | undefined },
): string {
  const parameters = new URLSearchParams();
  for (const [key, value] of Object.entries(query))
    if (value !== undefined) parameters.append(key, String(value));
  return parameters.size === 0 ? path : `${path}?${parameters}`;
}
