/**
 * Names, numbers and tables for people.
 *
 * @module
 */
// @ts-types="../src/std/bytes.d.ts"
import { format as inUnits } from "@std/fmt/bytes";
// @ts-types="../src/std/duration.d.ts"
import { format as inTimeUnits } from "@std/fmt/duration";

/** Bytes as KiB, MiB or GiB. */
export function formatBytes(bytes: number): string {
  // The prefix of 1024 is Ki, where that of 1000 is k.
  return inUnits(bytes, { binary: true }).replace("kiB", "KiB");
}

/** A count as thousands, millions or billions. */
export function formatCount(count: number): string {
  if (count >= 1e9) return `${(count / 1e9).toFixed(2)} B`;
  if (count >= 1e6) return `${(count / 1e6).toFixed(2)} M`;
  return count >= 1e3 ? `${(count / 1e3).toFixed(2)} K` : String(count);
}

/** A duration in seconds and what is longer: `1m 5s`. */
export function formatDuration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  return inTimeUnits(1000 * seconds, { ignoreZero: true }) || "0s";
}

/** `8 experts, 2 a token`; shared ones, which each token has, by themselves. */
export function expertsText(
  { used, shared = 0 }: { readonly used: number; readonly shared?: number },
  count: number,
  size = "",
): string {
  const beside = shared > 0 ? `, and ${shared} shared` : "";
  return `${count - shared} experts${size}, ${used - shared} a token${beside}`;
}

/** A share as a percentage. */
export function formatShare(part: number, whole: number): string {
  return whole > 0 ? `${(100 * part / whole).toFixed(1)} %` : "-";
}

/** What the system said, without its number and what file that was. */
export function formatSystemError(error: Error): string {
  return error.message.replace(/ \(os error \d+\).*$/, "");
}

/** A change in percent, with its standard error where it has one. */
export function formatChange(change: number, error?: number): string {
  const sign = change < 0 ? "-" : "+";
  const text = `${sign}${(100 * Math.abs(change)).toFixed(2)}%`;
  return error === undefined ? text : `${text} ± ${(100 * error).toFixed(2)}%`;
}

/** Rows in columns, two blanks apart; numbers to the right. */
export function formatTable(
  rows: readonly (readonly (string | number)[])[],
): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) =>
      widths[i] = Math.max(widths[i] ?? 0, String(cell).length)
    );
  }
  return rows.map((row) =>
    row.map((cell, i) =>
      typeof cell === "number"
        ? String(cell).padStart(widths[i])
        : cell.padEnd(widths[i])
    ).join("  ").trimEnd() + "\n"
  ).join("");
}

/** Cells of a column padded to one width: the first `left` columns to the left, the others to the right. */
export function aligned(
  rows: readonly (readonly (string | number)[])[],
  left = 0,
): string[][] {
  const widths = rows[0].map((_, column) =>
    Math.max(...rows.map((row) => String(row[column]).length))
  );
  return rows.map((row) =>
    row.map((cell, column) =>
      column < left
        ? String(cell).padEnd(widths[column])
        : String(cell).padStart(widths[column])
    )
  );
}

/** Rows as a table in Markdown, headings first; all but the first `left` columns stand to the right. */
export function formatMarkdown(
  rows: readonly (readonly string[])[],
  left: number,
): string {
  const [headings, ...body] = aligned(rows, left);
  const rule = headings.map(({ length }, column) =>
    "-".repeat(length - 1) + (column < left ? "-" : ":")
  );
  return [headings, rule, ...body].map((row) => `| ${row.join(" | ")} |\n`)
    .join("");
}
