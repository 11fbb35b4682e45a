/**
 * Names, numbers and tables for people.
 *
 * @module
 */

/** The last part of a path. */
export function fileName(path: string): string {
  return path.split(/[/\\]/).filter((part) => part).at(-1) ?? path;
}

/** Bytes as KiB, MiB or GiB. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) {
    bytes /= 1024;
    unit++;
  }
  return `${unit === 0 ? bytes : bytes.toFixed(2)} ${units[unit]}`;
}

/** A count as thousands, millions or billions. */
export function formatCount(count: number): string {
  if (count >= 1e9) return `${(count / 1e9).toFixed(2)} B`;
  if (count >= 1e6) return `${(count / 1e6).toFixed(2)} M`;
  return count >= 1e3 ? `${(count / 1e3).toFixed(2)} K` : String(count);
}

/** A duration as minutes and seconds, with hours where there are any. */
export function formatDuration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  const two = (value: number) => String(value).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  return hours > 0
    ? `${hours}:${two(minutes)}:${two(seconds % 60)}`
    : `${minutes}:${two(seconds % 60)}`;
}

/** How long `left` more will take, where `done` of them took the time since `start`: `1:05 left`. */
export function formatLeft(start: number, done: number, left: number): string {
  const each = (performance.now() - start) / done;
  return `${formatDuration(each * left)} left`;
}

/** A share as a percentage. */
export function formatShare(part: number, whole: number): string {
  return whole > 0 ? `${(100 * part / whole).toFixed(1)} %` : "-";
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
