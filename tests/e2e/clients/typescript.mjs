// The TypeScript SDK's client does everything that a client can with a server, and says what came of it.
//
//   node typescript.mjs DIRECTORY COMMAND ARGUMENTS...
//
// DIRECTORY is the server's working directory, and a root.
import { pathToFileURL } from 'node:url';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import * as types from '@modelcontextprotocol/sdk/types.js';

const [directory, command, ...args] = process.argv.slice(2);
const said = [];
const say = (what, value) => said.push({ [what]: value });
const asked = [];
const logged = [];
let rootsKnown;
const roots = new Promise((resolve) => (rootsKnown = resolve));

const client = new Client(
  { name: 'typescript', version: '1.0.0' },
  { capabilities: { roots: { listChanged: true }, sampling: {}, elicitation: {} } },
);
client.setRequestHandler(types.ListRootsRequestSchema, () => {
  const uris = ['file:///home/user/a%20project', pathToFileURL(directory).href];
  return { roots: uris.map((uri) => ({ uri, name: 'root' })) };
});
client.setRequestHandler(types.CreateMessageRequestSchema, ({ params }) => {
  asked.push(params);
  return { role: 'assistant', model: 'typescript', content: { type: 'text', text: 'sampled \u{1f980}' } };
});
client.setRequestHandler(types.ElicitRequestSchema, ({ params }) => {
  asked.push(params);
  return { action: 'accept', content: { name: 'Ferris', check: true, integer: 7 } };
});
client.setNotificationHandler(types.LoggingMessageNotificationSchema, ({ params }) => {
  logged.push(params);
  if (JSON.stringify(params.data).includes('Roots updated')) rootsKnown();
});

const call = (name, parameters, options) =>
  client.callTool({ name, arguments: parameters }, undefined, options);

await client.connect(new StdioClientTransport({ command, args, cwd: directory, env: process.env, stderr: 'inherit' }));
say('server', client.getServerVersion());
say('capabilities', client.getServerCapabilities());
say('instructions', client.getInstructions());
// The tools that call back are there by then.
await roots;
say('tools', (await client.listTools()).tools);
say('resources', (await client.listResources()).resources);
say('templates', (await client.listResourceTemplates()).resourceTemplates);
const { prompts } = await client.listPrompts();
say('prompts', prompts);
say('prompt', await client.getPrompt({ name: prompts[0].name }));
say('resource', await client.readResource({ uri: 'demo://resource/static/document/architecture.md' }));
say('echo', await call('echo', { message: 'gr\u00fc\u00df \u{1f980} \u0000 /usr/bin/env' }));
say('sum', await call('get-sum', { a: 0.1, b: 1e21 }));
say('structured', await call('get-structured-content', { location: 'Chicago' }));
say('image', await call('get-tiny-image', {}));
say('links', await call('get-resource-links', { count: 3 }));
say('wrong arguments', await call('get-sum', { a: 'x' }));
say('roots', await call('get-roots-list', {}));
say('sampling', await call('trigger-sampling-request', { prompt: 'say it', maxTokens: 10 }));
say('elicitation', await call('trigger-elicitation-request', {}));
say('asked', asked);

const long = 'trigger-long-running-operation';
say('long', await call(long, { duration: 0.1, steps: 2 }));

// It would take an hour.
const steps = [];
const abort = new AbortController();
const onprogress = (progress) => {
  if (steps.length < 3) steps.push(progress);
  if (steps.length === 3) abort.abort('enough');
};
const started = call(long, { duration: 3600, steps: 36000 }, { onprogress, signal: abort.signal });
say('cancelled', await started.then(() => 'not at all', (error) => String(error.message ?? error)));
say('progress', steps);
say('ping', await client.ping());
say('unknown method', await client.request({ method: 'no/such' }, types.EmptyResultSchema).catch((error) => error.message));
say('logged', logged);
await client.close();
console.log(said.map((entry) => JSON.stringify(entry)).join('\n'));
