#!/usr/bin/env node
// A hostile package. Its argument is a JSON list of steps; what each saw is printed as a JSON list. It trusts
// nothing and reports failures instead of hiding them: the test outside compares them with the audit log.
'use strict';

const { spawn } = require('node:child_process');
const dgram = require('node:dgram');
const dns = require('node:dns');
const fs = require('node:fs');
const net = require('node:net');
const tls = require('node:tls');
const { Duplex } = require('node:stream');

// A step that takes longer hangs, and a hang is a finding of its own.
const PATIENCE = 20_000;

const bytes = (text) => Buffer.from(text, 'latin1');

/// The bytes that node's own TLS would send first.
function hello(options) {
  return new Promise((resolve, reject) => {
    const wire = new Duplex({
      read() {},
      write(chunk, _, done) { resolve(chunk); done(); },
    });
    wire.on('error', reject);
    tls.connect({ socket: wire, rejectUnauthorized: false, ...options }).on('error', () => {});
  });
}

/// Puts a ClientHello's handshake bytes into records of `size` bytes.
function records(message, size) {
  const body = message.subarray(5);
  const parts = [];
  for (let at = 0; at < body.length; at += size) {
    const part = body.subarray(at, at + size);
    parts.push(Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]), part);
  }
  return Buffer.concat(parts);
}

/// Adds an extension to a ClientHello.
function extended(message, type, length) {
  const extension = Buffer.concat([Buffer.from([type >> 8, type & 255, length >> 8, length & 255]), Buffer.alloc(length, 7)]);
  // Record header, handshake header, version and random, session, cipher suites, compression.
  let at = 5 + 4 + 34;
  at += 1 + message[at];
  at += 2 + message.readUInt16BE(at);
  at += 1 + message[at];
  const whole = Buffer.concat([message, extension]);
  whole.writeUInt16BE(message.readUInt16BE(at) + extension.length, at);
  whole.writeUInt16BE(message.readUInt16BE(3) + extension.length, 3);
  whole.writeUIntBE(message.readUIntBE(6, 3) + extension.length, 6, 3);
  return whole;
}

/// A question, as a whole message.
function question({ name, type = 1, labels, flags = 0x0100, count = 1, tail = '' }) {
  const header = Buffer.alloc(12);
  header.writeUInt16BE(0x4e58, 0);
  header.writeUInt16BE(flags, 2);
  header.writeUInt16BE(count, 4);
  const parts = (labels ?? name.split('.').filter((label) => label)).map((label) => {
    const text = bytes(label);
    return Buffer.concat([Buffer.from([text.length]), text]);
  });
  return Buffer.concat([header, ...parts, Buffer.from([0, type >> 8, type & 255, 0, 1]), bytes(tail)]);
}

/// What an answer says.
function understood(data) {
  if (data === null) return { answered: false };
  const message = bytes(data);
  if (message.length < 12) return { answered: true, code: null };
  return { answered: true, code: message[3] & 15, records: message.readUInt16BE(6), id: message.readUInt16BE(0),
    length: message.length };
}

/// What a `send` element stands for, in the pieces in which it is written.
async function pieces(element) {
  if (typeof element === 'string') return [bytes(element)];
  if (element.parts) return [Buffer.concat((await Promise.all(element.parts.map(pieces))).flat())];
  let whole = element.hello ? await hello(element.hello) : bytes(element.text ?? '');
  if (element.repeat) whole = Buffer.concat(Array(element.repeat).fill(whole));
  if (element.replace) whole = bytes(whole.toString('latin1').replace(element.replace[0], element.replace[1]));
  if (element.extension) whole = extended(whole, element.extension, 200);
  if (element.records) whole = records(whole, element.records);
  if (!element.every) return [whole];
  const parts = [];
  for (let at = 0; at < whole.length; at += element.every) parts.push(whole.subarray(at, at + element.every));
  return parts;
}

const steps = {
  /// Connects, writes `send`, reads until the other side ends (or, with `enough`, until that many bytes came).
  async tcp({ to, port, family, send = [], enough = Infinity, from, half = false, deaf = false }) {
    const socket = net.connect({ host: to, port, family, localAddress: from, noDelay: true, allowHalfOpen: true,
      autoSelectFamily: false });
    const seen = { connected: false, error: null, data: '', ended: false };
    const closed = new Promise((resolve) => {
      socket.on('error', (error) => { seen.error ??= error.code ?? String(error); resolve(); });
      socket.on('end', () => { seen.ended = true; resolve(); });
      socket.on('close', resolve);
      socket.on('data', (data) => {
        seen.data += data.toString('latin1');
        if (seen.data.length >= enough) resolve();
      });
      if (deaf) socket.pause();
    });
    const connected = new Promise((resolve) => socket.once('connect', () => { seen.connected = true; resolve(); }));
    await Promise.race([connected, closed]);
    for (const element of seen.connected ? send : []) {
      for (const piece of await pieces(element)) {
        if (socket.destroyed || seen.error) break;
        await Promise.race([new Promise((done) => socket.write(piece, done)), closed]);
        // Another turn of the loop, so that the next piece is a segment of its own.
        await new Promise(setImmediate);
      }
    }
    if (half) socket.end();
    if (seen.connected && enough > 0) await closed;
    socket.destroy();
    return seen;
  },

  async tls({ to, port, servername, alpn }) {
    const socket = tls.connect({ host: to, port, servername, ALPNProtocols: alpn, rejectUnauthorized: false,
      autoSelectFamily: false });
    return new Promise((resolve) => {
      socket.on('secureConnect', () => { resolve({ secure: true }); socket.destroy(); });
      socket.on('error', (error) => resolve({ secure: false, error: error.code ?? String(error) }));
      socket.on('close', () => resolve({ secure: false, error: 'closed' }));
    });
  },

  async fetch({ url, headers }) {
    try {
      const response = await fetch(url, { headers });
      return { status: response.status, url: response.url, body: await response.text() };
    } catch (error) {
      return { error: error.cause?.code ?? error.cause?.message ?? String(error) };
    }
  },

  async lookup({ name, family = 0 }) {
    try {
      return { addresses: (await dns.promises.lookup(name, { all: true, family })).map((a) => a.address) };
    } catch (error) {
      return { error: error.code };
    }
  },

  async resolve({ name, type, server }) {
    const resolver = new dns.promises.Resolver({ timeout: 5000, tries: 1 });
    if (server) resolver.setServers([server]);
    try {
      return { records: await resolver.resolve(name, type) };
    } catch (error) {
      return { error: error.code };
    }
  },

  /// Sends datagrams from a connected socket and waits for the first answer or error. `wait` of 0 waits for none.
  async udp({ to, port, send = [''], from, wait = 2000, connect = true }) {
    const socket = dgram.createSocket(net.isIPv6(to) ? 'udp6' : 'udp4');
    const seen = { error: null, data: null, silent: false };
    const answered = new Promise((resolve) => {
      socket.on('error', (error) => { seen.error ??= error.code ?? String(error); resolve(); });
      socket.on('message', (data) => { seen.data = data.toString('latin1'); resolve(); });
    });
    const failed = (error) => { if (error) seen.error ??= error.code ?? String(error); };
    const call = (work) => Promise.race([answered, new Promise((resolve) => {
      try { work((error) => { failed(error); resolve(); }); } catch (error) { failed(error); resolve(); }
    })]);
    if (from) await call((done) => socket.bind({ address: from }, done));
    if (connect && !seen.error) await call((done) => socket.connect(port, to, done));
    for (const element of send) {
      for (const piece of await pieces(element)) {
        if (seen.error) break;
        await call((done) => (connect ? socket.send(piece, done) : socket.send(piece, port, to, done)));
      }
    }
    if (!seen.error && !seen.data && wait) {
      let timer;
      const silence = new Promise((resolve) => {
        timer = setTimeout(() => { seen.silent = true; resolve(); }, wait);
      });
      await Promise.race([answered, silence]);
      clearTimeout(timer);
    }
    try { socket.close(); } catch { /* closed by its error */ }
    return seen;
  },

  /// Asks for a name by hand; `raw` is a message that is none. Over TCP the length goes in front.
  async dns({ to = '198.18.0.1', port = 53, tcp = false, raw, wait = 1000, ...asked }) {
    const message = raw === undefined ? question(asked) : bytes(raw);
    if (!tcp) {
      const seen = await steps.udp({ to, port, send: [message.toString('latin1')], wait });
      return { ...understood(seen.data), error: seen.error };
    }
    const prefix = Buffer.from([message.length >> 8, message.length & 255]);
    const send = [Buffer.concat([prefix, message]).toString('latin1')];
    const seen = await steps.tcp({ to, port, send, enough: 14, half: true });
    return { ...understood(seen.data ? seen.data.slice(2) : null), error: seen.error, connected: seen.connected };
  },

  /// Runs a step many times, `together` of them at once; says how often each outcome was seen.
  async flood({ times, together = 64, step, vary }) {
    const outcomes = {};
    let next = 0;
    const worker = async () => {
      while (next < times) {
        const number = next++;
        const varied = vary ? { ...step, [vary]: String(step[vary]).replace('#', number) } : step;
        const seen = await one(varied);
        const key = seen.error ?? seen.status ?? (seen.connected || seen.addresses || seen.data ? 'ok' : 'nothing');
        outcomes[key] = (outcomes[key] ?? 0) + 1;
      }
    };
    await Promise.all(Array.from({ length: together }, worker));
    return outcomes;
  },

  /// Opens connections and keeps them open, doing nothing, while the inner step runs.
  async holding({ times, to, port, family, send, step }) {
    const held = [];
    const outcomes = {};
    const note = (key) => { outcomes[key] = (outcomes[key] ?? 0) + 1; };
    const open = () => new Promise((resolve) => {
      const socket = net.connect({ host: to, port, family, autoSelectFamily: false });
      socket.pause();
      socket.once('connect', () => { note('ok'); if (send) socket.write(bytes(send)); resolve(); });
      socket.once('error', (error) => { note(error.code ?? String(error)); resolve(); });
      held.push(socket);
    });
    for (let at = 0; at < times; at += 50) await Promise.all(Array.from({ length: Math.min(50, times - at) }, open));
    const inner = await one(step);
    held.forEach((socket) => socket.destroy());
    return { outcomes, inner };
  },

  async all({ steps: list }) {
    return Promise.all(list.map(one));
  },

  async spawn({ argv, env, input }) {
    return new Promise((resolve) => {
      const seen = { out: '', err: '', code: null, signal: null };
      const child = spawn(argv[0], argv.slice(1), { env: { ...process.env, ...env } });
      child.on('error', (error) => resolve({ ...seen, error: error.code }));
      child.stdout.on('data', (data) => { seen.out += data.toString('latin1'); });
      child.stderr.on('data', (data) => { seen.err += data.toString('latin1'); });
      child.on('close', (code, signal) => resolve({ ...seen, code, signal }));
      child.stdin.on('error', () => {});
      child.stdin.end(input ?? '');
    });
  },

  async read({ path }) {
    try {
      return { data: fs.readFileSync(path, 'latin1').slice(0, 65_536) };
    } catch (error) {
      return { error: error.code };
    }
  },

  async list({ path }) {
    try {
      return { names: fs.readdirSync(path) };
    } catch (error) {
      return { error: error.code };
    }
  },

  async write({ path, data = 'x' }) {
    try {
      fs.writeFileSync(path, data);
      return { written: true };
    } catch (error) {
      return { error: error.code };
    }
  },

  async unix({ path }) {
    return new Promise((resolve) => {
      const socket = net.connect({ path });
      socket.on('connect', () => { resolve({ connected: true }); socket.destroy(); });
      socket.on('error', (error) => resolve({ connected: false, error: error.code }));
    });
  },

  async say({ text, stream = 'stdout' }) {
    await new Promise((done) => process[stream].write(bytes(text), done));
    return {};
  },

  /// Waits for the end of stdin.
  async told() {
    let all = '';
    for await (const chunk of process.stdin) all += chunk;
    return { all };
  },

  async env() {
    return { env: process.env, argv: process.argv, cwd: process.cwd(), uid: process.getuid() };
  },

  /// An MCP server until its client leaves. It opens without waiting, says what it found, and `swap` changes what stands
  /// at a path, and the directory around it, for as long as it runs.
  async serve() {
    const path = require('node:path');
    const { Worker } = require('node:worker_threads');
    const { O_RDONLY, O_WRONLY, O_CREAT, O_TRUNC, O_NONBLOCK } = fs.constants;
    const using = (file, flags, act) => {
      const fd = fs.openSync(file, flags | O_NONBLOCK);
      try { return act(fd); } finally { fs.closeSync(fd); }
    };
    const tools = {
      read: ({ file }) => using(file, O_RDONLY, (fd) => fs.readFileSync(fd, 'latin1').slice(0, 65_536)),
      write: ({ file, text }) => using(file, O_WRONLY | O_CREAT | O_TRUNC, (fd) => fs.writeFileSync(fd, text)),
      swap: ({ file, bait, around }) => new Promise((resolve, reject) => {
        const worker = new Worker(`(${swapper})()`, { eval: true, workerData: { file, bait: bait.join('/'), around } });
        worker.once('message', () => resolve('swapping'));
        worker.once('error', reject);
      }),
      fill: ({ file, megabytes }) => using(file, O_WRONLY | O_CREAT | O_TRUNC, (fd) => {
        for (let at = 0; at < megabytes; at++) fs.writeSync(fd, Buffer.alloc(1 << 20, at));
      }),
      /// Directories inside each other, none of which anybody may enter any more.
      dig: ({ file, levels }) => {
        process.chdir(path.dirname(file));
        for (let level = 0; level < levels; level++) {
          if (level % 100 === 0) {
            fs.mkdirSync('locked/inner', { recursive: true });
            fs.chmodSync('locked', 0);
          }
          fs.mkdirSync('deep');
          process.chdir('deep');
          fs.chmodSync('..', 0);
        }
      },
      echo: ({ file }) => file,
      create: ({ file }) => fs.writeFileSync(new URL(file), 'created'),
    };
    const schema = { type: 'object', properties: { file: { type: 'string' }, text: { type: 'string' } } };
    const answers = {
      initialize: ({ protocolVersion }) => ({ protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 'hostile', version: '1' } }),
      'tools/list': () => ({ tools: Object.keys(tools).map((name) => ({ name, inputSchema: schema })) }),
      'tools/call': async ({ name, arguments: given }) => {
        try {
          return { content: [{ type: 'text', text: String(await tools[name](given)) }] };
        } catch (error) {
          return { isError: true, content: [{ type: 'text', text: String(error.code ?? error) }] };
        }
      },
    };
    for await (const line of require('node:readline').createInterface({ input: process.stdin })) {
      const { id, method, params } = JSON.parse(line);
      if (id === undefined) continue;
      const result = await answers[method](params);
      process.stdout.write(JSON.stringify({ jsonrpc: '2.0', id, result }) + '\n');
    }
    return {};
  },

  /// JavaScript for what no step covers.
  async run({ code }) {
    const AsyncFunction = (async () => {}).constructor;
    return new AsyncFunction('require', 'one', code)(require, one);
  },
};

/// What `swap` does, in a thread of its own: links, a FIFO, a second name and a whole directory come and go.
function swapper() {
  const fs = require('node:fs');
  const path = require('node:path');
  const { parentPort, workerData: { file, bait, around } } = require('node:worker_threads');
  const fresh = `${around}/fresh`;
  const quietly = (act) => { try { act(); } catch { /* npxc was quicker */ } };
  const tricks = [
    () => fs.symlinkSync(bait, fresh),
    () => fs.writeFileSync(fresh, 'inside'),
    () => fs.symlinkSync(path.basename(file), fresh),
    () => fs.linkSync(file, fresh),
    () => fs.writeFileSync(fresh, 'inside'),
  ];
  for (let round = 0; ; round++) {
    quietly(() => { tricks[round % tricks.length](); fs.renameSync(fresh, file); });
    quietly(() => fs.unlinkSync(fresh));
    if (round % 7 === 0 && path.dirname(file) !== around) {
      const [home, moved] = [path.dirname(file), `${around}/moved`];
      quietly(() => fs.rmSync(moved, { recursive: true, force: true }));
      // A link there would become the directory.
      quietly(() => { if (fs.lstatSync(home).isDirectory()) fs.renameSync(home, moved); });
      quietly(() => fs.symlinkSync(path.dirname(bait), home));
      quietly(() => { if (fs.lstatSync(home).isSymbolicLink()) fs.unlinkSync(home); });
      quietly(() => fs.renameSync(moved, home));
    }
    if (round === 0) parentPort.postMessage('begun');
  }
}

async function one(step) {
  let timer;
  const late = new Promise((resolve) => {
    timer = setTimeout(() => resolve({ error: 'HANG' }), step.patience ?? PATIENCE);
  });
  const work = steps[step.do](step).catch((error) => ({ error: error.code ?? String(error) }));
  const seen = await Promise.race([work, late]);
  clearTimeout(timer);
  return seen;
}

(async () => {
  const seen = [];
  for (const step of JSON.parse(process.argv[2])) seen.push(await one(step));
  process.stdout.write(`@@${JSON.stringify(seen)}\n`, () => process.exit(0));
})();
