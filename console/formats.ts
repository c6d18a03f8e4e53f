/** Numbers in the reader's locale, money in whole cents, times in the warehouse's zone. Texts are English. */
import { printable } from "../etl/escape.ts";
import { type Html, html, NOTHING } from "./html.ts";

export interface Formats {
  /** The reader's, for numbers: `de-DE`. */
  readonly locale: string;
  readonly count: (value: number) => string;
  /** 1.2M, for an axis. */
  readonly short: (value: number) => string;
  /** With one decimal. */
  readonly decimal: (value: number) => string;
  /** Text to text: no float ever holds money. */
  readonly euros: (total: string) => string;
  /** The same with a sign in any case. */
  readonly change: (total: string) => string;
  readonly signed: (value: number) => string;
  /** A share of 1, with a sign. */
  readonly growth: (share: number) => string;
  readonly share: (share: number) => string;
  readonly bytes: (bytes: number) => string;
  readonly duration: (ms: number) => string;
  /** `2026-10-05 18:00`, in the zone in which it is given. */
  readonly instant: (iso: string | null) => Html;
  /** `3 hours ago`. */
  readonly ago: (iso: string | null, now?: number) => Html;
}

/** @param acceptLanguage the header of the request */
export function createFormats(acceptLanguage: string | undefined): Formats {
  const locale = chooseLocale(acceptLanguage);
  const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
  const short = new Intl.NumberFormat(locale, { notation: "compact" });
  const decimal = new Intl.NumberFormat(locale, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
  const cents = new Intl.NumberFormat(locale, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  const signed = { signDisplay: "exceptZero" } as const;
  const change = new Intl.NumberFormat(locale, {
    ...signed,
    minimumFractionDigits: 2,
    maximumFractionDigits: 2,
  });
  const wholeChange = new Intl.NumberFormat(locale, { ...signed, maximumFractionDigits: 0 });
  const percent = { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 } as const;
  const growth = new Intl.NumberFormat(locale, { ...percent, ...signed });
  const share = new Intl.NumberFormat(locale, percent);
  // Since ES2023 a text is formatted exactly, whatever its length.
  const exactly = (format: Intl.NumberFormat) => (total: string) => format.format(total as `${number}`);
  return {
    locale,
    count: (value) => whole.format(value),
    short: (value) => short.format(value),
    decimal: (value) => decimal.format(value),
    euros: exactly(cents),
    change: exactly(change),
    signed: (value) => wholeChange.format(value),
    // Nobody reads thousands of percent.
    growth: (value) => (value >= 10 ? `×\u2009${whole.format(value + 1)}` : growth.format(value)),
    share: (value) => share.format(value),
    bytes: (bytes) => formatBytes(bytes, decimal),
    duration: (ms) => formatDuration(ms, decimal),
    instant: formatInstant,
    ago: formatAgo,
  };
}

/** The first language of the header that numbers can be written in. */
export function chooseLocale(acceptLanguage = ""): string {
  const wanted = acceptLanguage
    .slice(0, 200)
    .split(",")
    .map((part) => {
      const [tag = "", quality = "q=1"] = part.trim().split(/\s*;\s*/);
      return { tag, quality: Number(quality.replace(/^q=/, "")) || 0 };
    })
    .filter(({ tag, quality }) => quality > 0 && tag !== "*")
    .toSorted((a, b) => b.quality - a.quality);
  for (const { tag } of wanted) {
    try {
      // Without extensions, which could ask for other digits or calendars.
      const { baseName } = new Intl.Locale(tag);
      if (Intl.NumberFormat.supportedLocalesOf(baseName).length > 0) return baseName;
    } catch {
      // Not a language.
    }
  }
  return "en";
}

const SIZES = ["B", "kB", "MB", "GB", "TB"] as const;

function formatBytes(bytes: number, decimal: Intl.NumberFormat): string {
  let [value, index] = [bytes, 0];
  while (value >= 1000 && index < SIZES.length - 1) [value, index] = [value / 1000, index + 1];
  return `${index === 0 ? bytes : decimal.format(value)} ${SIZES[index]}`;
}

function formatDuration(ms: number, decimal: Intl.NumberFormat): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${decimal.format(ms / 1000)} s`;
  const minutes = Math.floor(ms / 60_000);
  return `${minutes}:${String(Math.floor((ms % 60_000) / 1000)).padStart(2, "0")} min`;
}

function formatInstant(iso: string | null): Html {
  if (iso === null) return NOTHING;
  return html`<time datetime="${iso}">${iso.slice(0, 16).replace("T", " ")}</time>`;
}

const STEPS = [
  [60, "second"],
  [60, "minute"],
  [24, "hour"],
  [Number.POSITIVE_INFINITY, "day"],
] as const;
const relative = new Intl.RelativeTimeFormat("en", { numeric: "always" });

function formatAgo(iso: string | null, now = Date.now()): Html {
  if (iso === null) return html`never`;
  let value = Math.max(0, (now - Date.parse(iso)) / 1000);
  for (const [size, unit] of STEPS) {
    if (value < size)
      return html`<time datetime="${iso}" title="${iso}">${relative.format(-Math.floor(value), unit)}</time>`;
    value /= size;
  }
  return NOTHING;
}

const MONTHS = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
] as const;

/** `2026-10` or `2026-10-01` as October 2026. */
export function monthName(month: string): string {
  return `${MONTHS[Number(month.slice(5, 7)) - 1]} ${month.slice(0, 4)}`;
}

/** The same, short: Oct. */
export function shortMonth(month: string): string {
  return (MONTHS[Number(month.slice(5, 7)) - 1] ?? "").slice(0, 3);
}

/** `1 line`, `1,234 lines`. */
export function countOf({ count }: Formats, value: number, noun: string): string {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

/** A name from a stranger, harmless: what could steer the text around it, or be unseen, is escaped. */
export function name(text: string): string {
  return printable(text);
}

const LONGEST = 60;

/** The same for a list: without its middle if it is long; all of it is in the title. */
export function shortName(text: string): Html {
  const characters = [...text];
  if (characters.length <= LONGEST) return html`${name(text)}`;
  const short = [...characters.slice(0, LONGEST - 21), "…", ...characters.slice(-20)].join("");
  return html`<span title="${name(text)}">${name(short)}</span>`;
}
