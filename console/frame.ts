/** What is around every page: head, navigation, foot. */
import type { Failure } from "./failure.ts";
import type { Formats } from "./formats.ts";
import { type Html, html, NOTHING } from "./html.ts";
import { LIVE_SCRIPT_PATH } from "./live.ts";
import { PAGES } from "./pages.ts";
import { ICON_PATH, STYLE_PATH } from "./style.ts";

export interface Frame {
  readonly title: string;
  /** Of the page, as it is defined. */
  readonly path: string;
  readonly body: Html;
  readonly formats: Formats;
  /** Where the warehouse is. */
  readonly place: string;
  readonly timeZone: string;
  /** Who is logged in; undefined where nobody is asked. */
  readonly user: string | undefined;
  /** Address of the same as JSON. */
  readonly json: string;
  /** Of a page that is brought up to date while it is open. */
  readonly live: Live | undefined;
}

export interface Live {
  /** Of the warehouse, as of when the page was asked for; undefined where it is not known. */
  readonly revision: string | undefined;
}

export function framePage(frame: Frame): Html {
  const { title, path, body, place, timeZone, user, json, live } = frame;
  return layOut({
    title,
    path,
    body,
    live,
    foot: html`<span>${place}</span><span>Times in ${timeZone}, money in euros</span>${
      user === undefined ? NOTHING : html`<span>Signed in as ${user}</span>`
    }<a href="${json}">This page as JSON</a>`,
  });
}

/** A page that says why there is no other. */
export function frameFailure({ title, message }: Failure): Html {
  return layOut({
    title,
    path: "",
    body: html`<h1>${title}</h1><p class="notice">${message}</p><p><a href="/">Overview</a></p>`,
    foot: NOTHING,
  });
}

function layOut(parts: {
  readonly title: string;
  readonly path: string;
  readonly body: Html;
  readonly foot: Html;
  readonly live?: Live | undefined;
}): Html {
  const { title, path, body, foot, live } = parts;
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title} · Rollbook</title>
<link rel="stylesheet" href="${STYLE_PATH}">
<link rel="icon" href="${ICON_PATH}" type="image/svg+xml">${
    live === undefined ? NOTHING : html`\n<script src="${LIVE_SCRIPT_PATH}" defer></script>`
  }
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header class="top">
<a class="brand" href="/">Rollbook</a>
<nav aria-label="Pages"><ul>${PAGES.filter(({ menu }) => menu !== undefined).map(
    (page) => html`<li><a href="${page.path}"${isCurrent(page.path, path)}>${page.menu}</a></li>`,
  )}</ul></nav>
</header>
<main id="content" tabindex="-1"${live?.revision === undefined ? NOTHING : html` data-revision="${live.revision}"`}>
${body}
</main>${live === undefined ? NOTHING : html`\n<p id="live" role="status"></p>`}
<footer>${foot}</footer>
</body>
</html>
`;
}

/** The page itself, or one below it: a load is one of the loads. */
function isCurrent(menu: string, path: string): Html {
  if (menu === path) return html` aria-current="page"`;
  return menu !== "/" && path.startsWith(`${menu}/`) ? html` aria-current="true"` : NOTHING;
}
