// Our client and gateway against the servers that npm has: `servers.mjs NPM AMBIT FOLDER`. Each server is listed, called, read and
// asked for a prompt by `ambit mcp`, its era found out and then said to be legacy; then it is killed behind `ambit mcp gateway`
// and has to be there again at the next call. A line of JSON a server, and FOLDER/servers.md.
import { createRequire } from 'node:module';
import { execFile, spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { lineOf, pause, start } from './programs.mjs';

const [, , npm, ambit, folder] = process.argv;
const here = dirname(fileURLToPath(import.meta.url));
const from = createRequire(npm + '/package.json');
const packages = npm + '/node_modules/@modelcontextprotocol';
const files = folder + '/files';
const node = '/usr/bin/node';
// A fleet has an agent; this one does nothing.
const nobody = { models: { none: { provider: 'openai', model: 'none', baseUrl: 'http://127.0.0.1:1/v1' } },
  agents: { nobody: { model: 'none' } }, workflow: { agent: 'nobody', prompt: 'Nothing.' }, policies: ['none.cedar'] };
const launched = new Set();
process.on('exit', () => launched.forEach((child) => child.kill('SIGKILL')));

// What each is asked. `service`: what it would need to do its work; then an error that says so is the good answer.
const everything = {
  call: ['get-sum', { a: 2, b: 3 }, '5'], read: 'demo://resource/static/document/architecture.md',
  template: 'demo://resource/dynamic/text/1', prompt: ['args-prompt', { city: 'Paris' }, 'Paris'],
};
const servers = [
  { name: 'server-everything', words: ['stdio'], tools: 13, ...everything },
  { name: 'server-everything', over: 'http', words: ['streamableHttp'], path: '/mcp', tools: 13, ...everything },
  { name: 'server-everything', over: 'http+sse', words: ['sse'], path: '/sse', tools: 13, ...everything },
  { name: 'server-everything', over: 'unix socket', words: ['stdio'], tools: 13, ...everything },
  { name: 'server-filesystem', words: [files], tools: 14, call: ['read_text_file', { path: files + '/note.txt' }, 'a note'] },
  { name: 'server-memory', tools: 9, env: { MEMORY_FILE_PATH: '/tmp/memory.json' }, read: 'memory://knowledge-graph',
    call: ['create_entities', { entities: [{ name: 'Ann', entityType: 'person', observations: ['is here'] }] }, 'Ann'] },
  { name: 'server-sequential-thinking', tools: 1, call: ['sequentialthinking',
    { thought: 'First.', thoughtNumber: 1, totalThoughts: 1, nextThoughtNeeded: false }, 'thoughtNumber'] },
  { name: 'server-basic-vanillajs', words: ['--stdio'], tools: 1, call: ['get-time', {}, 'Z'], read: 'ui://get-time/mcp-app.html' },
  { name: 'server-basic-vanillajs', over: 'http', path: '/mcp', tools: 1, call: ['get-time', {}, 'Z'], read: 'ui://get-time/mcp-app.html' },
  { name: 'server-budget-allocator', words: ['--stdio'], tools: 1, call: ['get-budget-data', {}, 'Marketing'],
    read: 'ui://budget-allocator/mcp-app.html' },
  { name: 'server-map', words: ['--stdio'], tools: 2, call: ['show-map', {}, 'globe'], read: 'ui://cesium-map/mcp-app.html' },
  { name: 'server-pdf', words: ['--stdio'], tools: 9, call: ['list_pdfs', {}, ''], read: 'ui://pdf-viewer/mcp-app.html' },
  { name: 'server-github', tools: 26, service: 'GitHub', call: ['search_repositories', { query: 'x' }] },
  { name: 'server-gitlab', tools: 9, service: 'GitLab', env: { GITLAB_PERSONAL_ACCESS_TOKEN: 'none' },
    call: ['search_repositories', { search: 'x' }] },
  { name: 'server-slack', tools: 8, service: 'Slack', env: { SLACK_BOT_TOKEN: 'none', SLACK_TEAM_ID: 'none' },
    call: ['slack_list_channels', {}] },
  { name: 'server-postgres', tools: 1, service: 'PostgreSQL', words: ['postgresql://127.0.0.1:1/none'], listFails: true,
    call: ['query', { sql: 'select 1' }] },
  { name: 'server-brave-search', tools: 2, service: 'Brave Search', env: { BRAVE_API_KEY: 'none' }, call: ['brave_web_search', { query: 'x' }] },
  { name: 'server-google-maps', tools: 7, service: 'Google Maps', env: { GOOGLE_MAPS_API_KEY: 'none' }, call: ['maps_geocode', { address: 'x' }] },
  { name: 'server-redis', skip: 'it says nothing until it has reached a Redis' },
];

function run(words) {
  return new Promise((resolve) => execFile(ambit, words, { timeout: 60000, maxBuffer: 64 << 20 },
    (error, out, err) => resolve({ code: error ? error.code ?? 1 : 0, out, err })));
}
function freePort() {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}
async function listens(port) {
  for (let n = 0; n < 200; ++n) {
    const answered = await fetch(`http://127.0.0.1:${port}/none`).then(() => true, () => false);
    if (answered) return;
    await pause(50);
  }
  throw new Error('it does not listen');
}
// The processes whose command line holds the words, as somebody outside of their jail sees them.
function pidsOf(words) {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).filter((pid) => {
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      return line[0] === node && words.every((word) => line.includes(word));
    } catch { return false; }
  }).map(Number);
}

class Server {
  constructor(spec) {
    Object.assign(this, spec);
    this.over ??= 'stdio';
    this.script = `${packages}/${this.name}/dist/index.js`;
    this.title = this.over === 'stdio' ? this.name : `${this.name} (${this.over})`;
    this.place = `${folder}/${this.title.replace(/[^a-z+-]+/g, '-')}`;
    // Told from others of the same program by a word of its own.
    this.mark = `--ambit-${this.over}-${process.pid}`;
  }
  async start() {
    mkdirSync(this.place, { recursive: true });
    const words = [this.script, ...(this.words ?? [])];
    let server;
    if (this.over === 'stdio') {
      server = { command: node, args: words, env: { ...this.env, AMBIT_MARK: this.mark }, profile: 'node' };
    } else if (this.over === 'unix socket') {
      const path = `${tmpdir()}/ambit-servers-${process.pid}.sock`;  // a socket's path is short
      rmSync(path, { force: true });
      this.child = start(node, [here + '/on_socket.mjs', path, node, ...words]);
      await lineOf(this.child.stdout, /^(listens)/);
      server = { url: `unix://${path}` };
    } else {
      this.port = await freePort();
      await this.launch();
      server = { url: `http://127.0.0.1:${this.port}${this.path}` };
    }
    writeFileSync(`${this.place}/none.cedar`, 'forbid (principal, action, resource);\n');
    writeFileSync(`${this.place}/fleet.json`, JSON.stringify({
      name: 'servers', mcpServers: { up: server }, ...nobody,
      profiles: { node: { extends: 'fs-read', read: [npm, files], memory: '1GiB', scratch: '64MiB', processes: 64, openFiles: 256 } },
    }));
  }
  async launch() {
    this.child = spawn(node, ['--require', here + '/loopback.cjs', this.script, ...(this.words ?? [])],
      { env: { ...process.env, ...this.env, PORT: String(this.port) }, stdio: 'ignore' });
    launched.add(this.child);
    await listens(this.port);
  }
  ask(era, verb, ...words) {
    return run(['mcp', verb, 'up', ...words, '--fleet', `${this.place}/fleet.json`, '--era', era, '--json']);
  }
  async list(era) {
    const { code, out, err } = await this.ask(era, 'list');
    if (this.listFails) return code === 1 && /connect E/.test(err) ? 'its error is told' : Promise.reject(new Error('list: ' + err));
    if (code !== 0) throw new Error('list: ' + err);
    const { tools } = JSON.parse(out);
    if (tools.length !== this.tools) throw new Error(`list: ${tools.length} tools, not ${this.tools}`);
    return `${tools.length} tools`;
  }
  async call(era) {
    const [tool, args, expected] = this.call_;
    const { code, out, err } = await this.ask(era, 'call', tool, JSON.stringify(args));
    if (this.service) return /fetch|connect|network|error/i.test(out + err) ? 'its error is told' : Promise.reject(new Error('call: ' + out + err));
    if (code !== 0 || !out.includes(expected)) throw new Error('call: ' + out.slice(0, 300) + err);
    return 'yes';
  }
  async read(era) {
    if (!this.read_) return '-';
    for (const uri of [this.read_, this.template].filter(Boolean)) {
      const { code, out, err } = await this.ask(era, 'read', uri);
      if (code !== 0 || !JSON.parse(out).contents.length) throw new Error('read: ' + err);
    }
    return 'yes';
  }
  async prompt(era) {
    if (!this.prompt_) return '-';
    const [name, args, expected] = this.prompt_;
    const { code, out, err } = await this.ask(era, 'prompt', name, JSON.stringify(args));
    if (code !== 0 || !out.includes(expected)) throw new Error('prompt: ' + out + err);
    return 'yes';
  }
  async ping(era) {
    const { code, out, err } = await this.ask(era, 'ping');
    if (code !== 0) throw new Error('ping: ' + err);
    return JSON.parse(out).protocolVersion;
  }
  // Killed between two calls through the gateway.
  async restart() {
    if (this.listFails) return '-';
    const { Client } = from('@modelcontextprotocol/client');
    const { StdioClientTransport } = from('@modelcontextprotocol/client/stdio');
    const client = new Client({ name: 'servers', version: '1' }, { versionNegotiation: { mode: { pin: '2026-07-28' } } });
    await client.connect(new StdioClientTransport({ command: ambit,
      args: ['mcp', 'gateway', `${this.place}/fleet.json`, '--pins', `${this.place}/pins.json`], stderr: 'ignore' }));
    try {
      const [tool, args, expected] = this.call_;
      const once = async () => {
        const result = await client.callTool({ name: 'mcp__up__' + tool, arguments: args });
        if (this.service) return;
        if (!JSON.stringify(result).includes(expected)) throw new Error('through the gateway: ' + JSON.stringify(result).slice(0, 300));
      };
      await once().catch((error) => { if (!this.service) throw error; });
      if (!this.port) {
        const pids = pidsOf([this.script]).filter((pid) => pid !== this.child?.pid);
        if (pids.length === 0) throw new Error('its process is not found');
        for (const pid of pids) process.kill(pid, 'SIGKILL');
      } else {
        this.child.kill('SIGKILL');
        await new Promise((resolve) => this.child.once('exit', resolve));
        await this.launch();
      }
      await pause(300);
      const { tools } = await client.listTools();
      if (tools.length < this.tools) throw new Error('after the restart: ' + tools.length + ' tools');
      await once().catch((error) => { if (!this.service) throw error; });
      return 'yes';
    } finally {
      await client.close();
    }
  }
  stop() {
    this.child?.kill(this.port ? 'SIGKILL' : 'SIGTERM');
  }
}

rmSync(folder, { recursive: true, force: true });
mkdirSync(files, { recursive: true });
writeFileSync(files + '/note.txt', 'a note\n');
const rows = [];
let failed = 0;
const only = process.env.SERVERS_ONLY ?? '';
for (const { call, read, prompt, ...spec } of servers) {
  const server = new Server(spec);
  if (!server.title.includes(only)) continue;
  server.call_ = call;
  server.read_ = read;
  server.prompt_ = prompt;
  const line = { suite: 'mcp servers ' + server.title, passed: 0, failed: 0, skipped: 0 };
  const version = existsSync(server.script) &&
    JSON.parse(readFileSync(`${packages}/${server.name}/package.json`, 'utf8')).version;
  const why = spec.skip ?? (version ? undefined : 'it could not be installed');
  if (why) {
    console.error(`skipped: ${server.title}: ${why}`);
    console.log(JSON.stringify({ ...line, skipped: 1 }));
    rows.push([server.title, version || '-', 'skipped: ' + why, '', '', '', '', '', '']);
    continue;
  }
  const row = [server.title + (spec.service ? ` (without ${spec.service})` : ''), version];
  const failures = [];
  const seen = async (what, step) => {
    try {
      row.push(await step());
      if (row.at(-1) !== '-') ++line.passed;
    } catch (error) {
      row.push('FAILED');
      failures.push(`${what}: ${String(error?.message ?? error).slice(0, 400)}`);
      ++line.failed;
    }
  };
  await seen('start', async () => (await server.start(), server.ping('automatic')));
  const cells = { list: [], call: [], read: [], prompt: [] };
  for (const era of ['automatic', 'legacy']) {
    for (const verb of Object.keys(cells)) {
      try {
        cells[verb].push(await server[verb](era));
        if (cells[verb].at(-1) !== '-') ++line.passed;
      } catch (error) {
        cells[verb].push('FAILED');
        failures.push(`${era} ${String(error?.message ?? error).slice(0, 400)}`);
        ++line.failed;
      }
    }
  }
  for (const both of Object.values(cells)) row.push(both[0] === both[1] ? both[0] : both.join(' / '));
  await seen('restart', () => server.restart());
  server.stop();
  if (line.failed > 0) line.failures = failures;
  failed += line.failed;
  console.log(JSON.stringify(line));
  rows.push(row);
}
const head = ['server', 'version', 'speaks', 'list', 'call', 'read', 'prompt', 'killed, and there again'];
const table = [head, head.map(() => '---'), ...rows.map((row) => head.map((_, i) => row[i] ?? ''))];
writeFileSync(folder + '/servers.md', table.map((row) => '| ' + row.join(' | ') + ' |').join('\n') + '\n');
process.exit(failed === 0 ? 0 : 1);
