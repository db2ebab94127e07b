// Shows a status and knows nothing else: no text from it is ever taken for markup, and nothing is asked of any other host.
'use strict';
(() => {
  const { $, make, colour, isNumber, figure, whole, percent, duration, clock, facts, table, scrolled, Plot, evaluation } = lockstep;

  const colours = ['blue', 'orange', 'green', 'red', 'amber'];
  // As many layers as can be told apart, from the first to the last.
  const spread = (layers, most = 8) => layers.length <= most ? layers : Array.from({ length: most }, (_, place) => layers[Math.round(place * (layers.length - 1) / (most - 1))]);
  let plots;
  let chosen;
  const learned = (status) => {
    plots ||= { loss: new Plot($('loss'), 'Loss'), metric: new Plot($('metric'), 'Metric'), rate: new Plot($('rate'), 'Learning rate'), gradients: new Plot($('gradients'), 'Gradient norm by layer'), pace: new Plot($('pace'), 'Rows a second') };
    const { curve, epochs } = status;
    const byEpoch = (name) => [epochs.map((epoch) => epoch.step), epochs.map((epoch) => epoch.values[name] ?? null)];
    const has = (name) => epochs.some((epoch) => name in epoch.values);
    const lines = [['each step', 'blue', curve.step, curve.loss]];
    if (has('validation_loss')) lines.push(['validation', 'orange', ...byEpoch('validation_loss')]);
    plots.loss.show('step', lines);
    plots.rate.show('step', [['learning rate', 'blue', curve.step, curve.learning_rate]]);
    plots.pace.show('step', [['rows a second', 'green', curve.step, curve.rows_per_second]]);
    const measured = spread(status.gradients?.layers ?? []);
    $('gradients').hidden = measured.length === 0;
    if (measured.length) {
      plots.gradients.show('step', measured.map(({ name, norm }, place) => [name, colours[place % colours.length], status.gradients.step, norm]), { grows: true });
    }
    const names = [...new Set(epochs.flatMap((epoch) => Object.keys(epoch.values)))].filter((name) => name !== 'loss' && !name.startsWith('validation_'));
    $('metric').hidden = names.length === 0;
    if (names.length === 0) return;
    if (!plots.select) {
      plots.select = make('select');
      plots.select.setAttribute('aria-label', 'which metric');
      plots.select.addEventListener('change', () => { chosen = plots.select.value; learned(last); });
      plots.metric.caption.append(plots.select);
    }
    if (plots.select.options.length !== names.length) {
      plots.select.replaceChildren(...names.map((name) => { const option = make('option', name); option.value = name; return option; }));
    }
    if (!names.includes(chosen)) chosen = names[0];
    plots.select.value = chosen;
    const metric = [['training', 'blue', ...byEpoch(chosen)]];
    if (has('validation_' + chosen)) metric.push(['validation', 'orange', ...byEpoch('validation_' + chosen)]);
    plots.metric.title = chosen;
    plots.metric.show('step', metric);
  };

  const badge = (state) => make('span', state, 'badge ' + String(state).replace(/[^a-z]/g, ''));
  const machine = (of) => [of.host, of.address].filter(Boolean).join(', ') || 'unknown';
  const workers = (status) => {
    const here = status.members.map((member) => ({ ...member, gone: false }));
    const gone = status.gone.map((member) => ({ ...member, state: 'gone', gone: true })).reverse();
    table($('workers'), [
      ['Worker', (row) => row.worker, 'number'],
      ['Machine', machine],
      ['State', (row) => badge(row.state)],
      ['Why', (row) => row.gone ? `${row.reason} (after step ${row.step})` : row.reason, 'words'],
      ['For', (row) => row.gone ? clock(row.at) : duration(row.state_seconds), 'number'],
      ['Shards', (row) => row.span ? `${row.span[0]} to ${row.span[1] - 1}` : '–'],
      ['Rows/s', (row) => whole(row.rows_per_second), 'number'],
      ['Lag', (row) => isNumber(row.lag) ? row.lag.toFixed(2) + '×' : '–', 'number'],
      ['Late', (row) => row.gone ? '–' : row.hedged, 'number'],
      ['Threads', (row) => row.threads ?? '–', 'number'],
      ['Process', (row) => row.pid ?? '–', 'number'],
    ], [...here, ...gone], 'No worker has joined yet.');
    table($('time'), [
      ['Worker', (row) => row.worker, 'number'],
      ['Computing', (row) => percent(row.computing), 'number'],
      ['Sending, or waiting for weights', (row) => percent(row.sending), 'number'],
      ['Waiting for the others', (row) => percent(row.waiting), 'number'],
      ['Steps', (row) => whole(row.passes), 'number'],
    ], status.members, 'No worker is there.');
  };

  const spent = ({ spent: of, explanations, counts }) => {
    $('explanations').hidden = !explanations?.length;
    $('explanations').replaceChildren(...(explanations ?? []).map((text) => make('li', text)));
    const all = of ? of.computing + of.sending + of.waiting : 0;
    $('spent').hidden = !(all > 0);
    if (!(all > 0)) return;
    facts($('spent'), [['computing', percent(of.computing / all)], ['sending, or waiting for weights', percent(of.sending / all)],
      ['waiting for the others', percent(of.waiting / all)], ['time of all workers', duration(all)], ['steps and evaluations', whole(of.passes)],
      ['workers lost and survived', whole(counts.lost)], ['microbatches computed again', whole(counts.dealt_again)]]);
  };

  const signs = { ok: '·', slow: '▲', open: '✕', none: '' };
  const said = { ok: 'with the others', slow: 'slow', open: 'others answered for it', none: 'nothing to do' };
  const strip = (status) => {
    const { passes, seconds, rows } = status.strip;
    $('strip-section').hidden = passes.length === 0;
    const head = make('tr');
    const corner = make('th', 'Worker');
    corner.scope = 'row';
    head.append(corner);
    const shortNames = passes.map((name) => name.replace('step ', ''));
    passes.forEach((name, place) => {
      const cell = make('th', place % 5 === passes.length % 5 || passes.length < 8 ? shortNames[place] : '');
      cell.scope = 'col';
      cell.title = `${name}, ${duration(seconds[place])}`;
      cell.setAttribute('aria-label', name);
      head.append(cell);
    });
    const lines = rows.map((row) => {
      const line = make('tr');
      const title = make('th', `${row.worker} ${row.host}`);
      title.scope = 'row';
      line.append(title);
      row.cells.forEach((kind, place) => {
        const cell = make('td', signs[kind] ?? '', kind in signs ? kind : undefined);
        cell.title = `worker ${row.worker}, ${passes[place]}: ${said[kind] ?? ''} ${isNumber(row.seconds[place]) ? figure(row.seconds[place]) + ' s' : ''}`;
        line.append(cell);
      });
      return line;
    });
    $('strip').replaceChildren(head, ...lines);
    const window = $('strip').parentElement;
    if (!strip.isShown) window.scrollLeft = window.scrollWidth;
    strip.isShown = true;
  };

  const waits = (status) => {
    $('waits').hidden = status.waits.length === 0;
    $('wait-list').replaceChildren(...status.waits.map((wait) => {
      const item = make('li');
      const limit = isNumber(wait.limit_seconds) ? `${duration(wait.limit_seconds)} at most` : 'no limit';
      const told = [`stage: ${wait.stage}`, wait.peer && `who: ${wait.peer}`, `for ${duration(wait.seconds)}, ${limit}`, `what helps: ${wait.remedy}`];
      item.append(make('b', wait.what), make('br'), document.createTextNode(told.filter(Boolean).join('; ')));
      return item;
    }));
  };

  const result = (status) => {
    $('result-section').hidden = !status.result;
    if (!status.result) return;
    const { values, best_epoch, threshold, weights_blake3, confusion } = status.result;
    const pairs = Object.entries(values).map(([name, value]) => [name, figure(value)]);
    if (best_epoch !== null) pairs.push(['best epoch', best_epoch]);
    if (threshold !== null) pairs.push(['threshold', figure(threshold)]);
    pairs.push(['weights, BLAKE3', weights_blake3 ?? '–']);
    if (status.run.verify) pairs.push(['verify it with', status.run.verify]);
    facts($('result'), pairs);
    // A report that measured the test table shows them there.
    const isMeasured = status.evaluation?.table === 'test';
    $('confusion').replaceChildren(...(isMeasured ? [] : confusion).map((of) => {
      const node = make('table');
      table(node, [['label \\ predicted', ([label]) => label], ...of.labels.map((label, place) => [label, ([, counts]) => whole(counts[place]), 'number'])],
        of.labels.map((label, place) => [label, of.rows[place] ?? []]), 'no rows');
      node.prepend(make('caption', `Rows of the test table by label and prediction: ${of.target}`));
      return scrolled(node, 'confusion matrix of ' + of.target);
    }));
  };

  // A report's alone; never changes.
  let evaluated;
  const examined = (status) => {
    const said = status.evaluation_missing ?? null;
    $('evaluation-section').hidden = !status.evaluation && !said;
    if (evaluated || (!status.evaluation && !said)) return;
    evaluated = status.evaluation ? evaluation($('evaluation'), status.evaluation) : [];
    if (said) $('evaluation').replaceChildren(make('p', `The model was not measured for this report: ${said}`));
  };

  const setText = (node, text) => { if (node.textContent !== text) node.textContent = text; };
  let last;
  let jobShown;
  const show = (status) => {
    last = status;
    const { run, job, position, now } = status;
    $('login').hidden = true;
    document.title = `${run.state}: ${run.name} – Lockstep`;
    setText($('name'), run.name || run.id);
    $('state').className = 'badge ' + run.state;
    setText($('state'), run.state);
    setText($('state-text'), [run.reason, position.measures && `measuring the ${position.measures} table`].filter(Boolean).join('; '));
    const done = position.steps ? position.step / position.steps : 0;
    $('bar').style.width = (100 * done).toFixed(1) + '%';
    $('progress').setAttribute('aria-valuenow', (100 * done).toFixed(0));
    facts($('now'), [
      ['epoch', `${position.epoch} of ${position.epochs}`],
      ['step', `${whole(position.step)} of ${whole(position.steps)}`],
      [now.loss_is_scaled ? 'loss (scaled)' : 'loss', figure(now.loss)],
      ['learning rate', figure(now.learning_rate)],
      ['rows a second', whole(now.rows_per_second)],
      ['trained for', duration(now.seconds)],
      ['time left', duration(now.seconds_left)],
      ['workers', status.members.length],
      ['gradients are added up by', status.adds ?? '–'],
    ]);
    waits(status);
    result(status);
    examined(status);
    learned(status);
    workers(status);
    spent(status);
    strip(status);
    const { counts } = status;
    facts($('counts'), [['joined', counts.joined], ['lost', counts.lost], ['refused', counts.refused], ['spans late', counts.hedged],
      ['microbatches again', counts.dealt_again], ['checkpoints', counts.checkpoints], ['warnings', counts.warnings]]);
    table($('events'), [
      ['When', (row) => clock(row.at)], ['Step', (row) => whole(row.step), 'number'], ['What', (row) => row.kind.replace('_', ' ')],
      ['In words', (row) => row.times > 1 ? `${row.text} (${row.times} times)` : row.text, 'words'],
    ], [...status.events].reverse(), 'Nothing has happened yet.');
    const asked = JSON.stringify(job);
    if (asked !== jobShown) {
      jobShown = asked;
      facts($('facts'), [...job.facts, ['run', run.id], ['run folder', run.folder ?? '–'], ['coordinator', [run.host, run.address].filter(Boolean).join(', ')]]);
      table($('layers'), [['Layer', (row) => row.name, 'words'], ['Output', (row) => row.output], ['Parameters', (row) => whole(row.parameters), 'number']], job.layers, 'unknown');
      table($('columns'), [['Column', (row) => row.name, 'words'], ['Role', (row) => row.role], ['Becomes', (row) => row.encoder], ['Inputs', (row) => whole(row.inputs), 'number']], job.columns, 'unknown');
      if (job.columns_left_out) $('columns').append(make('caption', `and ${job.columns_left_out} more`));
      setText($('toml'), job.toml);
    }
    setText($('about'), `Lockstep ${status.lockstep}; as of ${new Date(status.at * 1000).toLocaleString()}. Nothing on this page can change the run.`);
  };
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { if (last) learned(last); evaluated?.forEach((draw) => draw()); });

  const isOver = (status) => ['finished', 'stopped', 'failed', 'lost'].includes(status.run.state);
  const watch = () => {
    const events = new EventSource('events');
    events.addEventListener('status', (event) => {
      const status = JSON.parse(event.data);
      // What somebody is about to copy stays as it is.
      if (isOver(status) || getSelection().isCollapsed) show(status);
      if (isOver(status)) events.close();
    });
    events.onerror = () => {
      if (last && isOver(last)) return events.close();
      setText($('state-text'), 'the coordinator does not answer: this is how things were when it last did');
      if (events.readyState === EventSource.CLOSED) setTimeout(watch, 5000);
    };
  };
  const login = async (key) => {
    const answer = await fetch('login', { method: 'POST', body: key });
    if (!answer.ok) setText($('login-said'), 'That is not the key of this page.');
    return answer.ok;
  };
  const start = async () => {
    const inlined = $('inlined-status');
    if (inlined) return show(JSON.parse(inlined.textContent));
    if (location.hash.length > 1) {
      await login(location.hash.slice(1));
      history.replaceState(null, '', location.pathname);
    }
    const answer = await fetch('session');
    if ((await answer.text()) === 'open') return watch();
    $('login').hidden = false;
    setText($('state'), 'locked');
    $('login-form').addEventListener('submit', async (event) => {
      event.preventDefault();
      if (await login($('login-key').value.trim())) watch();
    });
  };
  start();
})();
