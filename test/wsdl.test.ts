/** The schema files: that they say what the contract does, and that gSOAP makes clients from them. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { services } from '../src/soap/contract.js';
import type { Shape } from '../src/soap/shape.js';
import { readXml } from '../src/soap/xml.js';
import type { XmlElement } from '../src/soap/xml.js';
import { missing } from './support/debian-package.js';

const home = mkdtempSync(join(tmpdir(), 'gridvc-wsdl-'));
t.teardown(() => rmSync(home, { recursive: true, force: true }));

t.test('the WSDLs and types.xsd declare what the contract does: same elements, same order, same occurrence', async (t) => {
  const document = (name: string): XmlElement => readXml(readFileSync(join(import.meta.dirname, '..', '..', 'wsdl', name), 'utf8'));
  const at = (element: XmlElement, name: string): string => element.attributes.find((attribute) => attribute.name === name)?.value ?? '';
  const all = (element: XmlElement, name: string): XmlElement[] => [...(element.name === name ? [element] : []), ...element.children.flatMap((child) => all(child, name))];
  const types = new Map(all(document('types.xsd'), 'complexType').map((type) => [at(type, 'name'), type]));
  const compare = (type: XmlElement, shape: Shape<unknown>, path: string): void => {
    const declared = all(type, 'element').filter((child) => child !== type);
    const occurs = (child: XmlElement): string => (at(child, 'maxOccurs') === 'unbounded' ? 'any' : at(child, 'minOccurs') === '0' ? 'maybe' : 'once');
    t.same(declared.map((child) => [at(child, 'name'), occurs(child)]), Object.entries(shape.fields ?? {}).map(([name, child]) => [name, child.occurs]), path);
    for (const child of declared) {
      const inner = types.get(at(child, 'type').replace('t:', ''));
      const childShape = shape.fields?.[at(child, 'name')];
      t.equal(inner !== undefined, childShape?.fields !== undefined, `${path}/${at(child, 'name')} has elements or not`);
      if (inner && childShape) compare(inner, childShape, `${path}/${at(child, 'name')}`);
    }
  };
  for (const { wsdl, operations } of Object.values(services)) {
    const elements = new Map(all(document(`${wsdl}.wsdl`), 'schema')[0]!.children.filter((child) => child.name === 'element').map((element) => [at(element, 'name'), element]));
    t.same([...elements.keys()].sort(), Object.keys(operations).flatMap((name) => [name, `${name}Response`]).sort(), `${wsdl}.wsdl has the operations of the contract`);
    for (const [name, operation] of Object.entries(operations) as [string, { input: Shape<unknown>; output: Shape<unknown> }][]) {
      compare(elements.get(name)!, operation.input, `${wsdl}: ${name}`);
      compare(elements.get(`${name}Response`)!, operation.output, `${wsdl}: ${name}Response`);
    }
  }
});

t.test('gSOAP makes C++ from our WSDLs without a warning', { skip: missing('/usr/bin/wsdl2h', ['gsoap']) }, async (t) => {
  for (const { wsdl, operations } of Object.values(services)) {
    const directory = mkdtempSync(join(home, 'gsoap-'));
    const header = join(directory, `${wsdl}.h`);
    const source = join(import.meta.dirname, '..', '..', 'wsdl');
    const first = spawnSync('wsdl2h', ['-I', source, '-o', header, join(source, `${wsdl}.wsdl`)], { encoding: 'utf8', cwd: directory });
    t.match(first, { status: 0 }, `wsdl2h ${wsdl}.wsdl`);
    const second = spawnSync('soapcpp2', ['-j', '-C', '-d', directory, header], { encoding: 'utf8', cwd: directory });
    t.match(second, { status: 0 }, `soapcpp2 ${wsdl}.h`);
    t.notMatch(first.stdout + first.stderr + second.stdout + second.stderr, /warning|error/i);
    const generated = readdirSync(directory).filter((name) => name.endsWith('Proxy.h')).map((name) => readFileSync(join(directory, name), 'utf8')).join('');
    for (const name of Object.keys(operations)) t.match(generated, new RegExp(`virtual int ${name}\\(`));
  }
});
