/** HTML and Markdown that escape what comes from data. */

/** Text that is HTML already. */
export interface Html {
  readonly html: string;
}

/** What is absent or false is left out. */
type Part = Html | string | number | false | null | undefined | readonly Part[];

/** A template whose values are escaped, unless they are `Html`. */
export function html(texts: TemplateStringsArray, ...parts: readonly Part[]): Html {
  return { html: texts.reduce((sum, text, index) => sum + render(parts[index - 1]) + text) };
}

/** Takes a text as HTML. For what we made ourselves: plots, styles. */
export function trusted(text: string): Html {
  return { html: text };
}

export function escapeHtml(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replaceAll("'", "&#39;");
}

function render(part: Part): string {
  if (part === null || part === undefined || part === false) return "";
  if (Array.isArray(part)) return part.map(render).join("");
  if (typeof part === "object") return (part as Html).html;
  return escapeHtml(String(part));
}

/** For a cell of a Markdown table: data opens no tag, link, emphasis or column. */
export function escapeMarkdown(text: string): string {
  return text.replace(/\s+/g, " ").replace(/[\\`*_[\]<>|&]/g, (character) => `\\${character}`);
}
