/**
 * Two kinds of plots as SVG text: scatter on logarithmic axes (predicted against measured), and stacked bars. Pure and small:
 * no fonts, scripts or styles from outside, so that the files show in any viewer and in a repository's web pages.
 */

export interface Series {
  readonly name: string;
  /** Both above 0: the axes are logarithmic. */
  readonly points: readonly { readonly x: number; readonly y: number }[];
  readonly colour: string;
  readonly mark: 'dot' | 'ring' | 'cross';
}

export interface Scatter {
  readonly title: string;
  readonly x: string;
  readonly y: string;
  readonly series: readonly Series[];
  /** Share of deviation around the diagonal that is shaded, e.g. 0.1. */
  readonly band?: number;
}

export interface StackedBars {
  readonly title: string;
  readonly y: string;
  /** What the pieces of a bar are, lowest first. */
  readonly parts: readonly { readonly name: string; readonly colour: string }[];
  readonly groups: readonly { readonly label: string; readonly bars: readonly { readonly label: string; readonly values: readonly number[] }[] }[];
}

/** Colours that people who do not see red and green apart can tell (Okabe and Ito). */
export const colours = { blue: '#0072b2', orange: '#e69f00', green: '#009e73', red: '#d55e00', violet: '#cc79a7', sky: '#56b4e9', grey: '#999999', yellow: '#f0e442' } as const;

const box = { left: 70, right: 20, top: 46, bottom: 60 } as const;
const text = '#222222';
const line = '#dddddd';

/** Points against the diagonal, where a prediction would be right. @throws RangeError if a point cannot be on a logarithmic axis */
export function scatter(plot: Scatter): string {
  const size = { width: 640, height: 640 };
  const all = plot.series.flatMap(({ points }) => points.flatMap(({ x, y }) => [x, y]));
  if (all.some((value) => !(value > 0 && Number.isFinite(value)))) throw new RangeError('a logarithmic axis takes values above 0 only');
  const [low, high] = decades(all);
  const inner = { width: size.width - box.left - box.right, height: size.height - box.top - box.bottom };
  const share = (value: number): number => (Math.log(value) - Math.log(low)) / (Math.log(high) - Math.log(low));
  const x = (value: number): number => box.left + inner.width * share(value);
  const y = (value: number): number => box.top + inner.height * (1 - share(value));
  const ticks = ticksBetween(low, high);
  const within = (value: number): number => Math.min(high, Math.max(low, value));
  const corner = (over: number): string => `${n(x(within(low / over)))},${n(y(within(low * over)))} ${n(x(within(high / over)))},${n(y(within(high * over)))}`;
  const band = plot.band === undefined ? '' : `<polygon points="${corner(1 + plot.band)} ${corner(1 / (1 + plot.band)).split(' ').reverse().join(' ')}" fill="#eeeeee"/>`;
  return frame(size, plot.title, [
    band,
    ...ticks.map((tick) => `<line x1="${n(x(tick))}" y1="${box.top}" x2="${n(x(tick))}" y2="${n(box.top + inner.height)}" stroke="${line}"/>${label(x(tick), box.top + inner.height + 18, String(tick), 'middle')}`),
    ...ticks.map((tick) => `<line x1="${box.left}" y1="${n(y(tick))}" x2="${n(box.left + inner.width)}" y2="${n(y(tick))}" stroke="${line}"/>${label(box.left - 8, y(tick) + 4, String(tick), 'end')}`),
    `<line x1="${n(x(low))}" y1="${n(y(low))}" x2="${n(x(high))}" y2="${n(y(high))}" stroke="${text}" stroke-dasharray="4 4"/>`,
    ...plot.series.flatMap(({ points, colour, mark }) => points.map((point) => marked(mark, x(point.x), y(point.y), colour))),
    axes(size, plot.x, plot.y),
    ...plot.series.map(({ name, colour, mark }, i) => `${marked(mark, box.left + 16, box.top + 18 + 20 * i, colour)}${label(box.left + 28, box.top + 22 + 20 * i, name, 'start')}`),
  ]);
}

/** Bars in groups, each bar's sum written above it. */
export function stackedBars(plot: StackedBars): string {
  const width = 22;
  const gap = 14;
  const widths = plot.groups.map(({ bars }) => bars.length * (width + gap) + 2 * gap);
  const size = { width: Math.max(480, box.left + box.right + widths.reduce((a, b) => a + b, 0)), height: 520 };
  const bottom = 130; // slanted labels and the groups' names
  const height = size.height - box.top - bottom - 24;
  const sums = plot.groups.flatMap(({ bars }) => bars.map(({ values }) => sum(values)));
  const top = niceTop(Math.max(1, ...sums));
  const y = (value: number): number => box.top + 24 + height * (1 - value / top);
  const pieces: string[] = [];
  for (let tick = 0; tick <= top; tick += top / 5) pieces.push(`<line x1="${box.left}" y1="${n(y(tick))}" x2="${size.width - box.right}" y2="${n(y(tick))}" stroke="${line}"/>${label(box.left - 8, y(tick) + 4, String(Math.round(tick * 10) / 10), 'end')}`);
  let left = box.left;
  plot.groups.forEach((group, g) => {
    group.bars.forEach((bar, b) => {
      const x = left + gap + b * (width + gap) + gap / 2;
      let below = 0;
      bar.values.forEach((value, i) => {
        if (value > 0) pieces.push(`<rect x="${n(x)}" y="${n(y(below + value))}" width="${width}" height="${n(y(below) - y(below + value))}" fill="${plot.parts[i]?.colour ?? text}"><title>${escape(`${plot.parts[i]?.name ?? ''}: ${value.toFixed(2)}`)}</title></rect>`);
        below += value;
      });
      pieces.push(label(x + width / 2, y(below) - 5, below >= 10 ? below.toFixed(0) : below.toFixed(1), 'middle', 11));
      pieces.push(`<text transform="translate(${n(x + width / 2 + 4)} ${n(y(0) + 12)}) rotate(-40)" text-anchor="end" font-size="11" fill="${text}">${escape(bar.label)}</text>`);
    });
    pieces.push(label(left + (widths[g] ?? 0) / 2, size.height - 14, group.label, 'middle', 13));
    left += widths[g] ?? 0;
    if (g < plot.groups.length - 1) pieces.push(`<line x1="${n(left)}" y1="${box.top}" x2="${n(left)}" y2="${size.height - 8}" stroke="${line}"/>`);
  });
  let at = box.left;
  for (const part of plot.parts) {
    pieces.push(`<rect x="${at}" y="${box.top - 12}" width="12" height="12" fill="${part.colour}"/>${label(at + 17, box.top - 2, part.name, 'start')}`);
    at += 34 + 7 * part.name.length;
  }
  pieces.push(`<text transform="translate(18 ${n(y(top / 2))}) rotate(-90)" text-anchor="middle" font-size="13" fill="${text}">${escape(plot.y)}</text>`);
  return frame(size, plot.title, pieces);
}

function frame(size: { width: number; height: number }, title: string, pieces: readonly string[]): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${size.height}" width="${size.width}" height="${size.height}" font-family="sans-serif" font-size="12">\n<rect width="${size.width}" height="${size.height}" fill="#ffffff"/>\n${label(size.width / 2, 22, title, 'middle', 15)}\n${pieces.filter((piece) => piece !== '').join('\n')}\n</svg>\n`;
}

function axes(size: { width: number; height: number }, x: string, y: string): string {
  return `${label(box.left + (size.width - box.left - box.right) / 2, size.height - 16, x, 'middle', 13)}<text transform="translate(18 ${(size.height - box.bottom + box.top) / 2}) rotate(-90)" text-anchor="middle" font-size="13" fill="${text}">${escape(y)}</text>`;
}

function label(x: number, y: number, words: string, anchor: 'start' | 'middle' | 'end', size = 12): string {
  return `<text x="${n(x)}" y="${n(y)}" text-anchor="${anchor}" font-size="${size}" fill="${text}">${escape(words)}</text>`;
}

function marked(mark: Series['mark'], x: number, y: number, colour: string): string {
  if (mark === 'cross') return `<path d="M${n(x - 4)} ${n(y - 4)}l8 8m0 -8l-8 8" stroke="${colour}" stroke-width="2" fill="none"/>`;
  return `<circle cx="${n(x)}" cy="${n(y)}" r="4" fill="${mark === 'ring' ? 'none' : colour}" stroke="${colour}" stroke-width="1.5" fill-opacity="0.75"/>`;
}

/** The least and the most 1, 2 or 5 times a power of ten around the values. */
function decades(values: readonly number[]): readonly [number, number] {
  const low = Math.min(...values, 10);
  const high = Math.max(...values, low * 2);
  return [steps(low).findLast((step) => step <= low) ?? low, steps(high).find((step) => step >= high) ?? high];
}

function ticksBetween(low: number, high: number): readonly number[] {
  const found: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) found.push(...[1, 2, 5].map((digit) => Number(`${digit}e${power}`)));
  return found.filter((tick) => tick >= low * 0.999 && tick <= high * 1.001);
}

function steps(around: number): readonly number[] {
  const power = Math.floor(Math.log10(around));
  return [power - 1, power, power + 1].flatMap((exponent) => [1, 2, 5].map((digit) => Number(`${digit}e${exponent}`)));
}

function niceTop(most: number): number {
  return [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].map((digit) => digit * 10 ** Math.floor(Math.log10(most))).find((step) => step >= most) ?? most;
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}

/** At most two digits after the point. */
function n(value: number): string {
  return String(Math.round(value * 100) / 100);
}

function escape(words: string): string {
  return words.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
