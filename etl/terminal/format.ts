/** Numbers, money, sizes, times and long texts as people read them. */

/** Whole numbers as people read them: 1234567 as 1,234,567. Without toLocaleString, whose first call takes Node 20 ms. */
export function formatCount(value: number): string {
  return groupThousands(String(value));
}

function groupThousands(whole: string): string {
  return whole.replace(/\B(?=(\d{3})+$)/g, ",");
}

/** `1 line`, `1,234 lines`. */
export function countOf(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** Euros as people read them: 1234567.8 as 1,234,567.80. Text to text: no float ever holds money. */
export function formatEuros(total: string): string {
  const [whole = "", cents = ""] = total.split(".");
  return `${groupThousands(whole)}.${cents.padEnd(2, "0")}`;
}

/** 123456789 as 123.5 MB. */
export function formatBytes(bytes: number): string {
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(1)} kB`;
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}

/** An instant to the second; the fraction is for programs. */
export function formatInstant(iso: string | null): string {
  return iso === null ? "" : iso.replace("T", " ").replace(/\.\d+/, "");
}

/** A text for a table cell, without its middle if it is long. */
export function shorten(text: string, length = 60): string {
  const characters = [...text];
  if (characters.length <= length) return text;
  const end = Math.floor(length / 3);
  return `${characters.slice(0, length - end - 3).join("")}...${characters.slice(-end).join("")}`;
}

/** 1500 as 1.5 s, 90000 as 1:30 min. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(Math.floor(ms / 100) / 10).toFixed(1)} s`;
  const minutes = Math.floor(ms / 60_000);
  return `${minutes}:${String(Math.floor((ms % 60_000) / 1000)).padStart(2, "0")} min`;
}

/** For a list: when the days of a warehouse start, unless that is midnight. */
export function describeDays({ dayStarts }: { readonly dayStarts: string }): string {
  return dayStarts === "00:00" ? "" : `days start at ${dayStarts}, `;
}
