/** The part of `sax` (a dependency of `soap`) that src/soap/xml.ts uses. */
declare module 'sax' {
  interface QualifiedAttribute {
    readonly local: string;
    readonly uri: string;
    readonly prefix: string;
    readonly value: string;
  }
  interface QualifiedTag {
    readonly local: string;
    readonly uri: string;
    readonly attributes: Readonly<Record<string, QualifiedAttribute>>;
  }
  interface Parser {
    ENTITIES: Record<string, string>;
    line: number;
    onopentag: (tag: QualifiedTag) => void;
    onclosetag: () => void;
    ontext: (text: string) => void;
    oncdata: (text: string) => void;
    ondoctype: () => void;
    onprocessinginstruction: (node: { name: string; body: string }) => void;
    onerror: (error: Error) => void;
    write(text: string): Parser;
    close(): Parser;
  }
  const sax: { parser(strict: boolean, options: { xmlns: boolean }): Parser };
  export default sax;
}
