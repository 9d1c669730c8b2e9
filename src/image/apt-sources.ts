/**
 * Reading apt's source lists, both formats, and keeping what belongs to one Debian release. Pure.
 * No mirror is ever named here: what the site (or the machine) has configured is what is used.
 */

/** What is left of all sources for one release, ready to be written to two files. */
export interface SourceTexts {
  /** deb822 stanzas (sources.list.d/gridvc.sources); "" if there are none. */
  readonly stanzas: string;
  /** One-line entries (sources.list.d/gridvc.list); "" if there are none. */
  readonly lines: string;
}

/**
 * @param files name and text; a name that ends in ".sources", or a text that looks like it, is deb822
 * @param os Debian code name: kept are the suites <os>, <os>-updates, <os>-security ..., <os>/updates and flat ones ("./")
 */
export function sourcesFor(files: readonly { name: string; text: string }[], os: string): SourceTexts {
  const stanzas: string[] = [];
  const lines: string[] = [];
  for (const { name, text } of files) {
    if (isDeb822(name, text)) stanzas.push(...keptStanzas(text, os));
    else lines.push(...keptLines(text, os));
  }
  return { stanzas: stanzas.join('\n'), lines: lines.map((line) => `${line}\n`).join('') };
}

function isDeb822(name: string, text: string): boolean {
  return name.endsWith('.sources') || (!name.endsWith('.list') && /^types:/im.test(text));
}

function belongs(suite: string, os: string): boolean {
  return suite === os || suite.startsWith(`${os}-`) || suite.startsWith(`${os}/`) || suite.endsWith('/');
}

function keptStanzas(text: string, os: string): string[] {
  const blocks = text.split(/\r?\n/).filter((line) => !line.startsWith('#')).join('\n').split(/\n\s*\n/);
  return blocks.flatMap((block) => {
    const fields = stanzaFields(block);
    const suites = (fields.get('suites') ?? '').split(/\s+/).filter((suite) => belongs(suite, os));
    const binary = (fields.get('types') ?? '').split(/\s+/).includes('deb');
    if (!binary || suites.length === 0 || /^(no|false|0|off)$/i.test(fields.get('enabled') ?? 'yes')) return [];
    fields.set('types', 'deb').set('suites', suites.join(' '));
    return [[...fields].map(([field, value]) => `${field}: ${value}\n`).join('')];
  });
}

/** Field names in lower case (apt does not mind); continuation lines stay in the value as they are. */
function stanzaFields(block: string): Map<string, string> {
  const fields = new Map<string, string>();
  let current: string | undefined;
  for (const line of block.split('\n')) {
    const start = /^([A-Za-z][A-Za-z0-9-]*):[ \t]*(.*)$/.exec(line);
    if (start?.[1] !== undefined) {
      current = start[1].toLowerCase();
      fields.set(current, (start[2] ?? '').trim());
    } else if (current !== undefined && /^\s+\S/.test(line)) {
      fields.set(current, `${fields.get(current) ?? ''}\n${line}`);
    }
  }
  return fields;
}

function keptLines(text: string, os: string): string[] {
  return text.split(/\r?\n/).flatMap((raw) => {
    const line = raw.replace(/#.*$/, '').trim();
    const suite = /^deb\s+(?:\[[^\]]*\]\s+)?\S+\s+(\S+)/.exec(line)?.[1];
    return suite !== undefined && belongs(suite, os) ? [line] : [];
  });
}
