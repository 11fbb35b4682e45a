/** Python's `strftime`, in English, as in its default locale. */

const english = (options: Intl.DateTimeFormatOptions) => (time: Date) =>
  time.toLocaleString("en", options);
const day = 86_400_000;

/** Days since the year began, from 0. */
function dayOfYear(time: Date): number {
  const start = Date.UTC(time.getFullYear(), 0, 1);
  const now = Date.UTC(time.getFullYear(), time.getMonth(), time.getDate());
  return Math.round((now - start) / day);
}

/** The week's number and the year that it belongs to, by ISO 8601. */
function isoWeek(time: Date): { week: number; year: number } {
  const date = Date.UTC(time.getFullYear(), time.getMonth(), time.getDate());
  const thursday = new Date(date + (4 - (time.getDay() || 7)) * day);
  const year = thursday.getUTCFullYear();
  const days = (thursday.getTime() - Date.UTC(year, 0, 1)) / day;
  return { week: 1 + Math.floor(days / 7), year };
}

const hour12 = (time: Date) => time.getHours() % 12 || 12;

/** Numbers: the value, its width, and what fills it. */
const numbers: Readonly<
  Record<
    string,
    readonly [(time: Date) => number, width: number, fill?: string]
  >
> = {
  Y: [(time) => time.getFullYear(), 1],
  C: [(time) => Math.floor(time.getFullYear() / 100), 2],
  y: [(time) => time.getFullYear() % 100, 2],
  m: [(time) => time.getMonth() + 1, 2],
  d: [(time) => time.getDate(), 2],
  e: [(time) => time.getDate(), 2, " "],
  j: [(time) => dayOfYear(time) + 1, 3],
  H: [(time) => time.getHours(), 2],
  k: [(time) => time.getHours(), 2, " "],
  I: [hour12, 2],
  l: [hour12, 2, " "],
  M: [(time) => time.getMinutes(), 2],
  S: [(time) => time.getSeconds(), 2],
  f: [(time) => time.getMilliseconds() * 1000, 6],
  s: [(time) => Math.floor(time.getTime() / 1000), 1],
  u: [(time) => time.getDay() || 7, 1],
  w: [(time) => time.getDay(), 1],
  U: [(time) => Math.floor((dayOfYear(time) + 7 - time.getDay()) / 7), 2],
  W: [
    (time) => Math.floor((dayOfYear(time) + 7 - (time.getDay() + 6) % 7) / 7),
    2,
  ],
  V: [(time) => isoWeek(time).week, 2],
  G: [(time) => isoWeek(time).year, 1],
  g: [(time) => isoWeek(time).year % 100, 2],
};

const texts: Readonly<Record<string, (time: Date) => string>> = {
  a: english({ weekday: "short" }),
  A: english({ weekday: "long" }),
  b: english({ month: "short" }),
  h: english({ month: "short" }),
  B: english({ month: "long" }),
  p: (time) => time.getHours() < 12 ? "AM" : "PM",
  P: (time) => time.getHours() < 12 ? "am" : "pm",
  // A time without a zone, as `datetime.now()` is.
  z: () => "",
  Z: () => "",
  n: () => "\n",
  t: () => "\t",
  "%": () => "%",
};

/** What stands for several directives. */
const shorthands: Readonly<Record<string, string>> = {
  c: "%a %b %e %H:%M:%S %Y",
  D: "%m/%d/%y",
  F: "%Y-%m-%d",
  r: "%I:%M:%S %p",
  R: "%H:%M",
  T: "%H:%M:%S",
  x: "%m/%d/%y",
  X: "%H:%M:%S",
};

/** Writes a time; a directive that is not known stays as it is. */
export function formatTime(time: Date, format: string): string {
  // Names of months and days take far longer to find than to write.
  const written: Record<string, string> = Object.create(null);
  return format.replace(
    /%([-_0^#]?)([a-zA-Z%])/g,
    (directive, flag, name) =>
      written[directive] ??= directiveText(time, flag, name) ?? directive,
  );
}

function directiveText(
  time: Date,
  flag: string,
  name: string,
): string | undefined {
  if (Object.hasOwn(numbers, name)) {
    const [value, width, fill = "0"] = numbers[name];
    const own = flag === "_" ? " " : flag === "0" ? "0" : fill;
    return String(value(time)).padStart(flag === "-" ? 0 : width, own);
  }
  const text = Object.hasOwn(texts, name)
    ? texts[name](time)
    : Object.hasOwn(shorthands, name)
    ? formatTime(time, shorthands[name])
    : undefined;
  return flag === "^" ? text?.toUpperCase() : text;
}
