#!/usr/bin/env node
// A server with everything that the conformance suite asks for by name, without any dependency.
'use strict';

const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==';
const WAV = 'UklGRiQAAABXQVZFZm10IBAAAAABAAEAESsAACJWAAACABAAZGF0YQAAAAA=';
const text = (words) => ({ type: 'text', text: words });
const image = { type: 'image', data: PNG, mimeType: 'image/png' };
const embedded = (uri) => ({ type: 'resource', resource: { uri, mimeType: 'text/plain', text: `The text of ${uri}.` } });
const said = (...content) => ({ content });
const string = (more) => ({ type: 'string', ...more });
const titled = (values) => values.map((value) => ({ const: value, title: `Title of ${value}` }));
const VALUES = ['one', 'two', 'three'];

let asked = 0;
const waiting = new Map();
const send = (message) => console.log(JSON.stringify({ jsonrpc: '2.0', ...message }));
/** A request to the client. */
const ask = (method, params) =>
  new Promise((resolve) => {
    waiting.set(++asked, resolve);
    send({ id: asked, method, params });
  });
const elicit = async (message, properties, required = []) => {
  const reply = await ask('elicitation/create', { message, requestedSchema: { type: 'object', properties, required } });
  return said(text(`Elicitation completed: action=${reply.action}, content=${JSON.stringify(reply.content)}`));
};

const tools = {
  test_simple_text: () => said(text('This is a simple text response for testing.')),
  test_image_content: () => said(image),
  test_audio_content: () => said({ type: 'audio', data: WAV, mimeType: 'audio/wav' }),
  test_embedded_resource: () => said(embedded('test://embedded-resource')),
  test_multiple_content_types: () => said(text('Several:'), image, embedded('test://mixed-content-resource')),
  test_tool_with_logging: () => {
    for (const step of ['started', 'processing', 'completed']) {
      send({ method: 'notifications/message', params: { level: 'info', logger: 'conforming', data: `Tool ${step}` } });
    }
    return said(text('Logged.'));
  },
  test_tool_with_progress: (_, meta) => {
    for (const progress of [0, 50, 100]) {
      const params = { progressToken: meta.progressToken, progress, total: 100, message: `${progress} of 100` };
      send({ method: 'notifications/progress', params });
    }
    return said(text(String(meta.progressToken)));
  },
  test_error_handling: () => ({ ...said(text('This tool intentionally returns an error for testing')), isError: true }),
  test_sampling: async ({ prompt }) => {
    const messages = [{ role: 'user', content: text(prompt) }];
    const reply = await ask('sampling/createMessage', { messages, maxTokens: 100 });
    return said(text(`LLM response: ${reply.content.text}`));
  },
  test_elicitation: ({ message }) => elicit(message, { username: string(), email: string() }, ['username', 'email']),
  test_elicitation_sep1034_defaults: () =>
    elicit('With defaults', {
      name: string({ default: 'John Doe' }),
      age: { type: 'integer', default: 30 },
      score: { type: 'number', default: 95.5 },
      status: string({ enum: ['active', 'inactive', 'pending'], default: 'active' }),
      verified: { type: 'boolean', default: true },
    }),
  test_elicitation_sep1330_enums: () =>
    elicit('With enumerations', {
      untitledSingle: string({ enum: VALUES }),
      titledSingle: string({ oneOf: titled(VALUES) }),
      legacyEnum: string({ enum: VALUES, enumNames: ['One', 'Two', 'Three'] }),
      untitledMulti: { type: 'array', items: string({ enum: VALUES }) },
      titledMulti: { type: 'array', items: { anyOf: titled(VALUES) } },
    }),
  json_schema_2020_12_tool: () => said(text('Called.')),
};
const schemas = {
  test_sampling: { type: 'object', properties: { prompt: string() }, required: ['prompt'] },
  test_elicitation: { type: 'object', properties: { message: string() }, required: ['message'] },
  json_schema_2020_12_tool: {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    type: 'object',
    $defs: { address: { type: 'object', properties: { street: string(), city: string() } } },
    properties: { name: string(), address: { $ref: '#/$defs/address' } },
    additionalProperties: false,
  },
};
const resource = (uri) => {
  if (uri === 'test://static-binary') return { uri, mimeType: 'image/png', blob: PNG };
  const id = /^test:\/\/template\/(.+)\/data$/.exec(uri)?.[1];
  const words = id ? JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` }) : 'This is the content.';
  return { uri, mimeType: id ? 'application/json' : 'text/plain', text: words };
};
const messages = (...content) => ({ messages: content.map((content) => ({ role: 'user', content })) });
const prompts = {
  test_simple_prompt: () => messages(text('This is a simple prompt for testing.')),
  test_prompt_with_arguments: ({ arg1, arg2 }) => messages(text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)),
  test_prompt_with_embedded_resource: ({ resourceUri }) => messages(embedded(resourceUri), text('Please process it.')),
  test_prompt_with_image: () => messages(image, text('Please analyze the image above.')),
};
const parameters = {
  test_prompt_with_arguments: ['arg1', 'arg2'],
  test_prompt_with_embedded_resource: ['resourceUri'],
};

const methods = {
  initialize: ({ protocolVersion }) => ({
    protocolVersion,
    capabilities: { tools: {}, resources: { subscribe: true }, prompts: {}, logging: {}, completions: {} },
    serverInfo: { name: 'conforming', version: '1.0.0' },
  }),
  ping: () => ({}),
  'logging/setLevel': () => ({}),
  'tools/list': () => ({
    tools: Object.keys(tools).map((name) => ({
      name,
      description: `The tool ${name}`,
      inputSchema: schemas[name] ?? { type: 'object', properties: {} },
    })),
  }),
  'tools/call': ({ name, arguments: words = {}, _meta = {} }) => tools[name](words, _meta),
  'resources/list': () => ({
    resources: ['static-text', 'static-binary', 'watched-resource'].map((name) => ({
      uri: `test://${name}`,
      name,
      description: `The resource ${name}`,
      mimeType: name === 'static-binary' ? 'image/png' : 'text/plain',
    })),
  }),
  'resources/templates/list': () => ({ resourceTemplates: [{ uriTemplate: 'test://template/{id}/data', name: 'template' }] }),
  'resources/read': ({ uri }) => ({ contents: [resource(uri)] }),
  'resources/subscribe': () => ({}),
  'resources/unsubscribe': () => ({}),
  'prompts/list': () => ({
    prompts: Object.keys(prompts).map((name) => ({
      name,
      description: `The prompt ${name}`,
      arguments: (parameters[name] ?? []).map((name) => ({ name, description: `The argument ${name}`, required: true })),
    })),
  }),
  'prompts/get': ({ name, arguments: words = {} }) => prompts[name](words),
  'completion/complete': () => ({ completion: { values: ['paris', 'park'], total: 2, hasMore: false } }),
};

require('readline').createInterface({ input: process.stdin }).on('line', async (line) => {
  const { id, method, params = {}, result, error } = JSON.parse(line);
  if (method === undefined) return waiting.get(id)?.(result ?? { action: error.message, content: text(error.message) });
  if (id === undefined) return;
  if (!methods[method]) return send({ id, error: { code: -32601, message: `no ${method}` } });
  try {
    send({ id, result: await methods[method](params) });
  } catch (error) {
    send({ id, error: { code: -32602, message: error.message } });
  }
});
