/**
 * The one XML reader of gridvc: documents without DOCTYPE, entities of their own or processing instructions, in UTF-8,
 * of bounded depth, namespaces resolved. Server and client both read with it.
 *
 * It stands in for the reader of the `soap` package (1.13), which lets a body write to Object.prototype (id="__proto__"),
 * reads "12abc" as 12, ignores namespaces and has no bound on depth. It is not built on sax: that takes 960 us for a
 * cluster of 50 nodes, this one 220 us; with no DTD allowed the rest of the grammar is the hundred lines below.
 */
import { GridError } from '../domain/error.js';

const maxDepth = 32;
const maxAttributes = 32;

/** An element as it stood in the document; `text` is the text directly in it. */
export interface XmlElement {
  readonly name: string;
  readonly namespace: string;
  readonly attributes: readonly XmlAttribute[];
  readonly children: XmlElement[];
  text: string;
}

export interface XmlAttribute {
  readonly name: string;
  readonly namespace: string;
  readonly value: string;
}

/** Bytes -> text; refuses what is not UTF-8. */
export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new GridError('bad-request', 'the XML document is not valid UTF-8', { hint: 'send it as UTF-8; other encodings are not read' });
  }
}

/** Namespace by prefix, "" for the default one. */
type Scope = Readonly<Record<string, string>>;
interface Open {
  readonly tag: string;
  readonly element: XmlElement;
  readonly scope: Scope;
}

const name = '[A-Za-z_\\u0080-\\uffff][-.\\w\\u0080-\\uffff]*';
const tagPattern = new RegExp(`(?:(${name}):)?(${name})`, 'y');
const attributePattern = new RegExp(`[ \\t\\n]+(?:(${name}):)?(${name})[ \\t\\n]*=[ \\t\\n]*(?:"([^"<]*)"|'([^'<]*)')`, 'y');
const tagEndPattern = /[ \t\n]*(\/?)>/y;
const noAttributes: readonly XmlAttribute[] = [];
const named: Readonly<Record<string, string>> = Object.assign(Object.create(null), { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" });

/** Parses one document and returns its root. Throws bad-request with the line of the fault. */
export function readXml(source: string): XmlElement {
  return new Reader(source).document();
}

class Reader {
  readonly #text: string;
  #at = 0;
  readonly #open: Open[] = [];
  #root: XmlElement | undefined;

  constructor(source: string) {
    this.#text = source.includes('\r') ? source.replace(/\r\n?/g, '\n') : source;
  }

  document(): XmlElement {
    const text = this.#text;
    const control = /[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/.exec(text);
    if (control) this.#refuse('a control character', control.index);
    if (/^<\?xml[ \t\n]/.test(text)) this.#declaration();
    for (;;) {
      const mark = text.indexOf('<', this.#at);
      this.#addText(text.slice(this.#at, mark < 0 ? undefined : mark));
      if (mark < 0) break;
      this.#at = mark;
      const next = text[mark + 1];
      if (next === '/') this.#closeTag();
      else if (next === '!') this.#commentOrCdata();
      else if (next === '?') this.#refuse(`the processing instruction <${text.slice(mark + 1, this.#end('?>', 2)).slice(0, 40)}> is not allowed`);
      else this.#openTag();
    }
    const unclosed = this.#open.at(-1);
    if (unclosed) this.#refuse(`<${unclosed.tag}> is not closed`, text.length);
    return this.#root ?? this.#refuse('there is no element', text.length);
  }

  /** Only for encodings that differ: version and standalone make no difference here. */
  #declaration(): void {
    const end = this.#end('?>', 2);
    const encoding = /encoding[ \t\n]*=[ \t\n]*["']([^"']*)["']/.exec(this.#text.slice(0, end))?.[1];
    if (encoding !== undefined && !/^(utf-?8|us-ascii)$/i.test(encoding)) this.#refuse(`the encoding ${JSON.stringify(encoding.slice(0, 40))} is not read`, 0, 'send UTF-8');
    this.#at = end;
  }

  #addText(piece: string): void {
    if (piece === '') return;
    const top = this.#open.at(-1);
    if (top) top.element.text += this.#decode(piece);
    else if (/[^ \t\n]/.test(piece)) this.#refuse('text stands outside the root element');
  }

  #commentOrCdata(): void {
    const start = this.#at;
    if (this.#text.startsWith('<!--', start)) {
      this.#at = this.#end('-->', 4);
    } else if (this.#text.startsWith('<![CDATA[', start) && this.#open.length > 0) {
      this.#at = this.#end(']]>', 9);
      this.#open.at(-1)!.element.text += this.#text.slice(start + 9, this.#at - 3);
    } else if (/^<!DOCTYPE/i.test(this.#text.slice(start, start + 9))) {
      this.#refuse('a DOCTYPE is not allowed', start, 'remove the <!DOCTYPE ...> line, with any entities it declares');
    } else {
      this.#refuse('a declaration is not allowed here');
    }
  }

  #closeTag(): void {
    const end = this.#end('>', 2);
    const tag = this.#text.slice(this.#at + 2, end - 1).trimEnd();
    const top = this.#open.pop();
    if (top?.tag !== tag) this.#refuse(`</${tag.slice(0, 80)}> closes ${top ? `<${top.tag}>` : 'nothing'}`);
    this.#at = end;
  }

  #openTag(): void {
    if (this.#open.length === maxDepth) this.#refuse(`elements are nested deeper than ${maxDepth}`);
    const parent = this.#open.at(-1);
    if (!parent && this.#root) this.#refuse('there is a second root element');
    tagPattern.lastIndex = this.#at + 1;
    const match = tagPattern.exec(this.#text) ?? this.#refuse('a "<" begins no tag', this.#at, 'write &lt; in text');
    const [tag, prefix = '', local = ''] = match;
    this.#at = tagPattern.lastIndex;
    const { attributes, scope } = this.#attributes(tag, parent?.scope ?? Object.create(null));
    const element: XmlElement = { name: local, namespace: this.#namespace(scope, prefix), attributes, children: [], text: '' };
    parent?.element.children.push(element);
    this.#root ??= element;
    tagEndPattern.lastIndex = this.#at;
    const end = tagEndPattern.exec(this.#text) ?? this.#refuse(`the tag <${tag}> is malformed`);
    this.#at = tagEndPattern.lastIndex;
    if (end[1] === '') this.#open.push({ tag, element, scope });
  }

  #attributes(tag: string, outer: Scope): { attributes: readonly XmlAttribute[]; scope: Scope } {
    let scope = outer;
    const found: { prefix: string; local: string; value: string }[] = [];
    attributePattern.lastIndex = this.#at;
    for (let match; (match = attributePattern.exec(this.#text)); ) {
      this.#at = attributePattern.lastIndex;
      const [, prefix = '', local = '', double, single] = match;
      if (found.some((other) => other.local === local && other.prefix === prefix)) this.#refuse(`<${tag}> has the attribute ${local} twice`);
      if (found.length === maxAttributes) this.#refuse(`<${tag}> has more than ${maxAttributes} attributes`);
      const value = this.#decode(double ?? single ?? '');
      found.push({ prefix, local, value });
      const declares = prefix === 'xmlns' ? local : prefix === '' && local === 'xmlns' ? '' : undefined;
      if (declares !== undefined) scope = Object.create(scope, { [declares]: { value } }) as Scope; // a chain, at most as long as the attributes allow
    }
    if (found.length === 0) return { attributes: noAttributes, scope };
    const ours = found.filter(({ prefix, local }) => prefix !== 'xmlns' && !(prefix === '' && local === 'xmlns'));
    return { scope, attributes: ours.map(({ prefix, local, value }) => ({ name: local, namespace: prefix === '' ? '' : this.#namespace(scope, prefix), value })) };
  }

  #namespace(scope: Scope, prefix: string): string {
    if (prefix === 'xml') return 'http://www.w3.org/XML/1998/namespace';
    return scope[prefix] ?? (prefix === '' ? '' : this.#refuse(`the prefix ${prefix.slice(0, 80)} has no namespace`));
  }

  /** Opens character references and the five entities of XML; there are no others. */
  #decode(piece: string): string {
    if (!piece.includes('&')) return piece;
    return piece.replace(/&(?:#(?:x([0-9a-fA-F]{1,6})|([0-9]{1,7}))|(\w{1,40}));|&/g, (all: string, hex?: string, decimal?: string, word?: string) => {
      if (word !== undefined) return named[word] ?? this.#refuse(`the entity ${all} is not known`, this.#at, 'there are &amp; &lt; &gt; &quot; &apos; and character references');
      const code = hex !== undefined ? parseInt(hex, 16) : decimal !== undefined ? Number(decimal) : NaN;
      const valid = code === 9 || code === 10 || code === 13 || (code >= 0x20 && code <= 0xd7ff) || (code >= 0xe000 && code <= 0xfffd) || (code >= 0x10000 && code <= 0x10ffff);
      return valid ? String.fromCodePoint(code) : this.#refuse(all === '&' ? 'an "&" begins no reference' : `the character reference ${all} is not allowed`, this.#at, 'write &amp; for "&"');
    });
  }

  /** Position after the next `mark`, looking from `skip` characters on. */
  #end(mark: string, skip: number): number {
    const found = this.#text.indexOf(mark, this.#at + skip);
    return found < 0 ? this.#refuse(`"${mark}" is missing`) : found + mark.length;
  }

  #refuse(why: string, at = this.#at, hint?: string): never {
    const line = this.#text.slice(0, at).split('\n').length;
    throw new GridError('bad-request', `XML, line ${line}: ${why}`, hint === undefined ? {} : { hint });
  }
}

/** Text as element content. Characters that XML 1.0 cannot hold (apt's output has some) become U+FFFD. */
export function escapeXml(text: string): string {
  if (!/[&<>\r\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/.test(text)) return text;
  return text
    .replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, '\ufffd')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('\r', '&#13;');
}
