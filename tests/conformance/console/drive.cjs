// Drives the console in a headless Chromium: drive.cjs AMBIT FIXTURE WORK [SCREENSHOTS]. Each step is a sentence; the first that does not
// hold ends it. Prints the figures of 100,000 records, what axe found, and how many steps held.

const { spawn, execFileSync } = require('node:child_process');
const { cpSync, mkdirSync, readFileSync } = require('node:fs');
const { chromium } = require('playwright-core');
const axeSource = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const [ambit, fixture, work, shots] = process.argv.slice(2);
const fleet = 'examples/1-incident-desk/fleet.json';
let held = 0;
let violations = 0;
const children = new Set();

function check(sentence, holds, detail) {
  if (!holds) throw new Error(`${sentence}: does NOT hold${detail ? ` (${detail})` : ''}`);
  held++;
  console.log(`  ${sentence}`);
}

async function console_of(state, people) {
  const child = spawn(ambit, ['audit', 'console', state, '--people', people, '--listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'pipe'] });
  children.add(child);
  const links = {};
  let text = '';
  let errors = '';
  child.stderr.on('data', (bytes) => { errors += bytes; });
  await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`the console did not come up: ${errors}`)), 60_000);
    child.on('exit', () => reject(new Error(`the console ended: ${errors}`)));
    child.stdout.on('data', (bytes) => {
      text += bytes;
      if (!text.includes('Stop with Ctrl-C')) return;
      clearTimeout(timer);
      resolve();
    });
  });
  for (const match of text.matchAll(/^(\S+)\s+(reviewer|owner)\s+(http\S+)$/gm)) links[match[1]] = match[3];
  return {
    links, base: Object.values(links)[0].split('/login')[0] + '/',
    stop: () => new Promise((resolve) => {
      child.removeAllListeners('exit');
      child.on('exit', (code) => { children.delete(child); resolve(code); });
      child.kill('SIGTERM');
    }),
  };
}

async function axe(page, name) {
  // Evaluated by the debugger, so that the page's own policy stays as strict as it is.
  await page.evaluate(axeSource);
  // A colour that is on its way to another one is neither.
  await page.evaluate(() => Promise.allSettled(document.getAnimations().map((animation) => animation.finished)));
  const found = await page.evaluate(() => axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
  violations += found.violations.length;
  for (const one of found.violations) console.log(`  axe: ${name}: ${one.id}: ${one.help}: ${one.nodes.map((node) => node.html.slice(0, 160)).slice(0, 3).join(' | ')}`);
  check(`axe finds nothing wrong: ${name} (${found.passes.length} rules hold)`, found.violations.length === 0);
}

const shoot = (page, name) => (shots ? page.screenshot({ path: `${shots}/${name}.png` }) : null);

async function open(browser, options, link) {
  const context = await browser.newContext({ viewport: { width: 1360, height: 860 }, ...options });
  const page = await context.newPage();
  page.on('pageerror', (error) => { throw error; });
  page.on('console', (message) => { if (message.type() === 'error' && /Content Security Policy/.test(message.text())) throw new Error(message.text()); });
  await page.goto(link);
  return page;
}

const status = (page, path, body) => page.evaluate(async ([path, body]) => (await fetch(path, body ? { method: 'POST', headers: { 'X-Ambit-Console': '1' }, body: JSON.stringify(body) } : {})).status, [path, body]);

async function story(browser) {
  const server = await console_of(`${work}/desk`, 'ann:reviewer,bob:reviewer,olga:owner');
  const ann = await open(browser, { colorScheme: 'light' }, server.links.ann);
  await ann.waitForSelector('table.wide tbody tr');
  await ann.waitForSelector('.trust.good');
  check('the page checks signature and history of the log before anything is clicked', /signed and consistent/.test(await ann.textContent('#trust')));
  const again = await open(browser, {}, server.links.ann);
  await again.waitForSelector('h1:has-text("Log in")');
  check('a link logs in once', true);
  check('without a login nothing is told', (await status(again, 'api/runs')) === 401);
  await axe(again, 'login');
  await again.context().close();
  await ann.waitForSelector('.chart');
  await axe(ann, 'runs');
  await shoot(ann, 'runs');

  await ann.click('table.wide tbody tr th a');
  await ann.waitForSelector('.list .row:not(.loading)');
  await axe(ann, 'timeline');
  await ann.click('.chip:has-text("Not allowed")');
  await ann.waitForSelector('.list .row.deny:not(.loading)');
  // The keyboard alone: into the list, down, and the chosen record opens.
  await ann.focus('.list');
  await ann.keyboard.press('Home');
  for (let i = 0; i < 40 && !(await ann.$('.list .row.deny[aria-selected="true"]')); i++) await ann.keyboard.press('ArrowDown');
  await ann.waitForSelector('.detail .badge.deny');
  const index = Number((await ann.textContent('.detail .facts a[href^="#/record/"]')).trim());
  check(`a reviewer finds a denied action with the keyboard (record ${index})`, Number.isInteger(index));
  const reason = await ann.textContent('.detail .reason');
  check(`the reason is there: ${reason.slice(0, 70)}`, reason.length > 10);
  check('and the text of the policy that determined it, with its clause marked',
    (await ann.textContent('.detail .policy.determined')).includes('forbid') || /No policy permits/.test(await ann.textContent('.detail')));
  check('decided again from the record, it is the same', /the same\./.test(await ann.textContent('.detail')));
  await ann.focus('.detail');
  await ann.keyboard.press('v');
  await ann.waitForSelector('#verified');
  check(`verified in the browser: ${(await ann.$$('.steps li')).length} checks`, (await ann.$$('.steps li')).length >= 3);
  await axe(ann, 'a denied record');
  await shoot(ann, 'denied');
  await ann.evaluate(() => document.querySelector('#verified').scrollIntoView({ block: 'center' }));
  await shoot(ann, 'verified');

  await ann.fill('.detail textarea', 'The agent tried to delete a log that a report told it to. Rightly refused.');
  await ann.selectOption('.detail select', 'question');
  await ann.click('.detail button:has-text("Put on record")');
  await ann.waitForSelector('.detail .annotation');
  check('a reviewer notes a finding; it is a record', /kept as record/.test(await ann.textContent('.detail .annotation')));
  const noted = Number(/kept as record (\d+)/.exec(await ann.textContent('.detail .annotation'))[1]);
  check('nobody signs off what they wrote', (await status(ann, 'api/sign-off', { annotation: noted, reason: 'me too' })) === 403);
  check('a reviewer cannot answer the fleet', (await status(ann, 'api/answer', { note: 'x' })) === 403);
  check('nor change a record', (await status(ann, 'api/record', { index, leaf: '{}' })) === 404);
  check('a post without the page’s header is refused', (await ann.evaluate(async () => (await fetch('api/annotation', { method: 'POST', body: '{}' })).status)) === 403);

  await ann.click('.tabs button:has-text("Verify")');
  await ann.click('button:has-text("Verify every record")');
  await ann.waitForSelector('.verify-result .notice.good', { timeout: 120_000 });
  check((await ann.textContent('.verify-result')).slice(2, 90), true);
  await axe(ann, 'verify a run');
  await ann.click('.tabs button:has-text("Charts")');
  await ann.waitForSelector('.panel .chart');
  await axe(ann, 'charts');
  await shoot(ann, 'charts');
  await ann.click('.tabs button:has-text("Delegation")');
  await ann.waitForSelector('.tree li');
  await axe(ann, 'delegation');
  await ann.click('.tabs button:has-text("Agents")');
  await ann.waitForSelector('#run-panel table tbody tr');
  const turns = await ann.$$eval('#run-panel table tbody tr', (rows) => rows.map((row) => Number(row.cells[2].textContent.replace(/,/g, ''))));
  const told = Number(await ann.$eval('.tile:has(dt:text-is("Turns")) dd', (dd) => dd.firstChild.textContent.replace(/,/g, '')));
  check(`the agents' turns are the run's: ${turns.join(' + ')} = ${told}`, turns.length > 0 && turns.reduce((sum, one) => sum + one, 0) === told);
  await axe(ann, 'agents');
  await shoot(ann, 'agents');

  await ann.goto(`${server.base}#/review`);
  await ann.fill('input[type=text]', 'spring audit');
  await ann.click('button:has-text("Draw")');
  await ann.waitForSelector('.queue-list li');
  const first = await ann.$$eval('.queue-list button', (all) => all.map((one) => one.textContent));
  await ann.click('.queue-list button');
  await ann.waitForSelector('.detail .headline');
  check(`a sample of ${first.length} drawn from a seed is on record`, first.length > 0);
  const redrawn = await ann.evaluate(async () => (await (await fetch('api/sample?seed=spring%20audit&count=20&group=refused')).json()).indexes);
  check('the same seed draws the same sample', first.every((text, i) => text === `Record ${redrawn[i]}`));
  await axe(ann, 'review');

  const bob = await open(browser, { colorScheme: 'dark' }, server.links.bob + '#/review');
  await bob.waitForSelector('.annotation');
  await bob.fill('.annotation textarea', 'Read it, checked the proof, agree.');
  await bob.click('.annotation button:has-text("Sign off")');
  await bob.waitForSelector('.signed');
  check('a second person signs it off', /Signed off by bob/.test(await bob.textContent('.signed')));
  check('once', (await status(bob, 'api/sign-off', { annotation: noted, reason: 'again' })) === 409);
  await bob.click('.queue-list button');
  await bob.waitForSelector('.detail .headline');
  await axe(bob, 'review, dark');
  await shoot(bob, 'review-dark');
  await bob.goto(`${server.base}#/approvals`);
  await bob.waitForSelector('.approval');
  check('a reviewer sees what waits, and no buttons', (await bob.$$('.approval button')).length === 0);

  const olga = await open(browser, { colorScheme: 'light' }, server.links.olga + '#/approvals');
  await olga.waitForSelector('.approval');
  check('each action is answered by itself', (await olga.$$('.approval')).length === 2 && (await olga.$$('button:has-text("all")')).length === 0);
  check('with all of its arguments', (await olga.textContent('.approval .code')).includes('replica lag over 90 s since 08:12'));
  await axe(olga, 'approvals');
  await shoot(olga, 'approvals');
  await olga.click('.approval button[data-answer=approve]');
  await olga.waitForSelector('.approval .notice.bad');
  check('no answer without a reason', /reason is needed/.test(await olga.textContent('.approval .notice.bad')));
  await olga.setInputFiles('input[type=file]', `${work}/desk/olga.key`);
  await olga.waitForSelector('text=Signing as olga');
  await olga.fill('.approval textarea', 'The owner of payments asked for it by phone; drained first.');
  await olga.click('.approval button[data-answer=approve]');
  await olga.waitForFunction(() => document.querySelectorAll('.approval').length === 1);
  check('an owner approves an escalation, signed in the browser', true);
  const pending = execFileSync(ambit, ['pending', '--state', `${work}/desk`]).toString();
  check('ambit pending agrees', pending.includes('delete_logs') && !pending.includes('restart_service'));
  const others = execFileSync(ambit, ['audit', 'list', '--state', `${work}/desk`, '--run', 'review', '--json']).toString();
  check('drawing, noting, signing off, answering and looking are records', ['opened', 'sampled', 'annotated', 'signed_off', 'answered'].every((type) => others.includes(`review.${type}`)));

  await olga.goto(`${server.base}#/live`);
  await olga.waitForSelector('.live-list li');
  const run = spawn(ambit, ['run', fleet, '--park', '--seed', '9', '--state', `${work}/desk`, '--json', '--quiet'], { stdio: 'ignore' });
  const ended = new Promise((resolve) => run.on('exit', resolve));
  await olga.waitForFunction(() => Number(document.querySelector('.tile dd').textContent.replace(/,/g, '')) > 50, null, { timeout: 120_000 });
  check('a running fleet is seen as it records', true);
  await axe(olga, 'live');
  await shoot(olga, 'live');
  await ended;
  await olga.goto(`${server.base}#/trust`);
  await olga.waitForSelector('.card .notice.good');
  check('and the log still continues the one that the browser saw', /continues the log/.test(await olga.textContent('.card')));
  await axe(olga, 'proof');

  // What an attacker between page and log would do.
  await ann.route('**/api/record?*', async (route) => {
    const answer = await route.fetch();
    const body = await answer.json();
    body.leaf = body.leaf.replace('"verdict":"deny"', '"verdict":"ally"');
    await route.fulfill({ response: answer, json: body });
  });
  await ann.goto(`${server.base}#/record/${index}`);
  await ann.waitForSelector('#verify');
  await ann.click('#verify');
  await ann.waitForSelector('.detail .notice.bad');
  check('a record that was altered on its way is not verified', /Not verified/.test(await ann.textContent('.detail')));
  check('the console ends in order', (await server.stop()) === 0);
  check('and the record verifies, sealed', /as it was when the log was closed/.test(execFileSync(ambit, ['audit', 'verify', '--state', `${work}/desk`]).toString()));
  return { browserState: await olga.context().storageState(), base: server.base };
}

// An old copy in the log's place: signed by the same key, so only who remembers can tell.
async function rollback(browser, before) {
  const state = `${work}/old`;
  mkdirSync(state);
  execFileSync(ambit, ['run', fleet, '--seed', '3', '--state', state, '--json', '--quiet']);
  cpSync(`${state}/journal`, `${work}/copy`, { recursive: true });
  execFileSync(ambit, ['run', fleet, '--seed', '4', '--state', state, '--json', '--quiet']);
  let server = await console_of(state, 'ann:reviewer');
  const page = await open(browser, {}, server.links.ann);
  await page.waitForSelector('.trust.good');
  const port = new URL(server.base).port;
  await server.stop();
  cpSync(`${work}/copy`, `${state}/journal`, { recursive: true });
  server = await console_of(state, 'ann:reviewer');
  // The same browser: its memory is by origin, so the new port gets what the old one had.
  const memory = await page.evaluate(() => JSON.stringify(localStorage));
  const after = await page.context().newPage();
  await after.addInitScript((text) => { for (const [name, value] of Object.entries(JSON.parse(text))) localStorage.setItem(name, value); }, memory);
  await after.goto(server.links.ann);
  await after.waitForSelector('.trust.bad');
  await after.goto(`${server.base}#/trust`);
  await after.waitForSelector('.card .notice.bad');
  check(`an old copy in the log's place is seen: ${(await after.textContent('.card .notice.bad')).slice(2, 70)}`, port !== undefined);
  await shoot(after, 'rolled-back');
  await server.stop();
}

async function large(browser) {
  // And one more: that somebody opened the console is a record too.
  const records = Number(JSON.parse(execFileSync(ambit, ['audit', 'stats', '--state', `${work}/big`, '--json'], { maxBuffer: 1 << 26 })).records) + 1;
  const server = await console_of(`${work}/big`, 'ann:reviewer,bob:reviewer');
  const page = await open(browser, {}, server.links.ann);
  await page.waitForSelector('table.wide tbody tr');
  const figures = {};
  const timed = async (name, act) => {
    const began = performance.now();
    await act();
    figures[name] = Math.round(performance.now() - began);
  };
  // A second visit: the index stands, as it does for everybody but the first.
  await timed('first paint of the runs', async () => {
    await page.reload();
    await page.waitForSelector('table.wide tbody tr');
  });
  await timed('first rows of all records', async () => {
    await page.goto(`${server.base}#/search`);
    await page.waitForSelector('.list .row:not(.loading)');
  });
  check(`the list says how many there are: ${await page.textContent('.list-count')}`, (await page.textContent('.list-count')).includes(records.toLocaleString('en')));
  check('and holds only those one sees', (await page.$$('.list .row')).length < 60);
  await timed('to the last record with End', async () => {
    await page.focus('.list');
    await page.keyboard.press('End');
    await page.waitForSelector(`.list [aria-posinset="${records}"]:not(.loading)`);
  });
  const frames = await page.evaluate(async () => {
    const list = document.querySelector('.list');
    const times = [];
    let last = performance.now();
    for (let i = 0; i < 120; i++) {
      list.scrollTop = (list.scrollHeight * i) / 120;
      await new Promise(requestAnimationFrame);
      times.push(performance.now() - last);
      last = performance.now();
    }
    return times.sort((a, b) => a - b);
  });
  figures['a frame while scrolling, median'] = Math.round(frames[60]);
  figures['a frame while scrolling, 95th of 100'] = Math.round(frames[114]);
  await timed('search for a text in all bodies', async () => {
    await page.fill('input[type=search]', 'Needle in this');
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => document.querySelector('.list-count').textContent === '1 record');
  });
  check('the one record with the text is found', true);
  await timed('the denied actions of one tool', async () => {
    await page.fill('input[type=search]', '');
    await page.selectOption('select >> nth=2', 'delete_logs');
    await page.selectOption('select >> nth=3', 'deny');
    await page.waitForFunction(() => /^[0-9,]+ records$/.test(document.querySelector('.list-count').textContent) && document.querySelectorAll('.list .row.deny:not(.loading)').length > 5);
  });
  await timed('one record with its proof', async () => {
    await page.focus('.list');
    await page.keyboard.press('ArrowDown');
    await page.waitForSelector('.detail .headline');
  });
  await timed('verified in the browser', async () => {
    await page.click('#verify');
    await page.waitForSelector('#verified');
  });
  await axe(page, 'search');
  await shoot(page, 'search');
  for (const [name, ms] of Object.entries(figures)) {
    const goal = { 'first paint of the runs': 500, 'first rows of all records': 500, 'search for a text in all bodies': 1000 }[name];
    console.log(JSON.stringify({ bench: 'console', case: `${records} records: ${name}`, unit: 'ms', ours: ms, peer: null, theirs: null, ratio: null, goal: goal ? `<=${goal}` : null, met: goal ? ms <= goal : null }));
  }
  await server.stop();
}

(async () => {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--force-color-profile=srgb'] });
  try {
    const before = await story(browser);
    await rollback(browser, before);
    await large(browser);
    console.log(`console: ${held} steps hold, ${violations} violations found by axe`);
  } finally {
    await browser.close();
    for (const child of children) child.kill('SIGTERM');
  }
})().catch((error) => {
  console.error(`console: ${error.message}`);
  process.exitCode = 1;
});
