// Shows a status and knows nothing else: no text from it is ever taken for markup, and nothing is asked of any other host.
'use strict';
(() => {
  const $ = (id) => document.getElementById(id);
  const make = (tag, text, className) => {
    const node = document.createElement(tag);
    if (text !== undefined && text !== null) node.textContent = String(text);
    if (className) node.className = className;
    return node;
  };
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();
  const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);
  const figure = (value) => {
    if (!isNumber(value)) return '–';
    const size = Math.abs(value);
    return size !== 0 && (size < 1e-3 || size >= 1e7) ? value.toExponential(3) : String(Number(value.toPrecision(5)));
  };
  const tick = (value) => {
    const size = Math.abs(value);
    return size !== 0 && (size < 1e-2 || size >= 1e6) ? String(Number(value.toPrecision(3)).toExponential()) : String(Number(value.toPrecision(5)));
  };
  const whole = (value) => isNumber(value) ? Math.round(value).toLocaleString('en-US') : '–';
  const percent = (value) => isNumber(value) ? (100 * value).toFixed(0) + ' %' : '–';
  const duration = (seconds) => {
    if (!isNumber(seconds)) return '–';
    if (seconds < 60) return seconds.toFixed(1) + ' s';
    const minutes = Math.floor(seconds / 60);
    return minutes < 60 ? minutes + ' min ' + Math.floor(seconds % 60) + ' s' : Math.floor(minutes / 60) + ' h ' + (minutes % 60) + ' min';
  };
  const clock = (at) => isNumber(at) ? new Date(at * 1000).toLocaleTimeString() : '–';

  const facts = (list, pairs) => {
    list.replaceChildren(...pairs.map(([name, value]) => {
      const pair = make('div');
      pair.append(make('dt', name), make('dd', value));
      return pair;
    }));
  };
  // Columns: [title, cell of a row, class]. A cell is a text or a node.
  const table = (node, columns, rows, empty) => {
    const head = make('thead');
    const titles = make('tr');
    for (const [title, , kind] of columns) {
      const cell = make('th', title, kind === 'number' ? kind : undefined);
      cell.scope = 'col';
      titles.append(cell);
    }
    head.append(titles);
    const body = make('tbody');
    for (const row of rows) {
      const line = make('tr');
      for (const [, of, kind] of columns) {
        const value = of(row);
        const cell = make('td', value instanceof Node ? undefined : value, kind);
        if (value instanceof Node) cell.append(value);
        line.append(cell);
      }
      body.append(line);
    }
    if (rows.length === 0) {
      const cell = make('td', empty);
      cell.colSpan = columns.length;
      const line = make('tr');
      line.append(cell);
      body.append(line);
    }
    node.replaceChildren(head, body);
  };

  // A plot with its words and its numbers: `lines` are [name, colour, xs, ys].
  class Plot {
    constructor(node, title) {
      this.caption = make('figcaption', title);
      this.place = make('div', undefined, 'plot');
      this.place.setAttribute('role', 'img');
      this.numbers = make('table');
      const details = make('details');
      details.append(make('summary', 'Numbers: ' + title));
      const scroll = make('div', undefined, 'scroll tall');
      scroll.tabIndex = 0;
      scroll.setAttribute('role', 'region');
      scroll.setAttribute('aria-label', 'numbers of ' + title);
      scroll.append(this.numbers);
      details.append(scroll);
      details.addEventListener('toggle', () => this.fillNumbers());
      this.details = details;
      this.title = title;
      node.append(this.caption, this.place, details);
      new ResizeObserver(() => this.fit()).observe(this.place);
    }
    fit() {
      if (this.plot) this.plot.setSize({ width: this.place.clientWidth, height: 220 });
    }
    show(xName, lines) {
      this.lines = lines.filter(([, , xs]) => xs.length > 0);
      this.xName = xName;
      const words = this.lines.map(([name, , , ys]) => {
        const known = ys.filter(isNumber);
        return known.length ? `${name}: ${figure(known[0])} at first, ${figure(known[known.length - 1])} now` : `${name}: no numbers`;
      });
      this.place.setAttribute('aria-label', `${this.title} by ${xName}. ${words.join('; ') || 'nothing yet'}.`);
      this.fillNumbers();
      const data = this.joined();
      const shape = JSON.stringify([xName, this.lines.map(([name]) => name), colour('text')]);
      if (shape !== this.shape) {
        this.shape = shape;
        if (this.plot) this.plot.destroy();
        this.plot = this.lines.length ? new uPlot(this.options(), data, this.place) : undefined;
      } else if (this.plot) {
        this.plot.setData(data);
      }
    }
    joined() {
      if (!this.lines.length) return [[]];
      return uPlot.join(this.lines.map(([, , xs, ys]) => [xs, ys]));
    }
    options() {
      const axis = (more) => ({ stroke: colour('text'), grid: { stroke: colour('grid') }, ticks: { stroke: colour('grid') }, ...more });
      const series = this.lines.map(([name, stroke], place) => ({
        label: name, stroke: colour(stroke), width: 2, spanGaps: true, dash: place % 2 ? [6, 3] : undefined,
        points: { show: this.lines[place][2].length < 2 }, value: (_, value) => figure(value),
      }));
      return {
        width: this.place.clientWidth || 300, height: 220, cursor: { drag: { x: true, y: false } },
        scales: { x: { time: false } },
        axes: [axis({ size: 34 }), axis({ size: 64, values: (_, ticks) => ticks.map((value) => isNumber(value) ? tick(value) : '') })],
        series: [{ label: this.xName, value: (_, value) => whole(value) }, ...series],
      };
    }
    fillNumbers() {
      if (!this.details.open || !this.lines) return;
      const data = this.joined();
      const columns = [[this.xName, (row) => data[0][row], 'number'],
        ...this.lines.map(([name], line) => [name, (row) => { const value = data[line + 1][row]; return isNumber(value) ? value : ''; }, 'number'])];
      table(this.numbers, columns, data[0] ? data[0].map((_, row) => row) : [], 'nothing yet');
    }
  }

  let plots;
  let chosen;
  const learned = (status) => {
    plots ||= { loss: new Plot($('loss'), 'Loss'), metric: new Plot($('metric'), 'Metric'), rate: new Plot($('rate'), 'Learning rate'), pace: new Plot($('pace'), 'Rows a second') };
    const { curve, epochs } = status;
    const byEpoch = (name) => [epochs.map((epoch) => epoch.step), epochs.map((epoch) => epoch.values[name] ?? null)];
    const has = (name) => epochs.some((epoch) => name in epoch.values);
    const lines = [['each step', 'blue', curve.step, curve.loss]];
    if (has('validation_loss')) lines.push(['validation', 'orange', ...byEpoch('validation_loss')]);
    plots.loss.show('step', lines);
    plots.rate.show('step', [['learning rate', 'blue', curve.step, curve.learning_rate]]);
    plots.pace.show('step', [['rows a second', 'green', curve.step, curve.rows_per_second]]);
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
      const limit = isNumber(wait.limit_seconds) ? `, ${duration(wait.limit_seconds)} at most` : '';
      item.append(make('b', wait.what), make('br'), document.createTextNode(`${wait.stage}, for ${duration(wait.seconds)}${limit}. ${wait.remedy}`));
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
    $('confusion').replaceChildren(...confusion.map((of) => {
      const node = make('table');
      table(node, [['label \\ predicted', ([label]) => label], ...of.labels.map((label, place) => [label, ([, counts]) => whole(counts[place]), 'number'])],
        of.labels.map((label, place) => [label, of.rows[place] ?? []]), 'no rows');
      node.prepend(make('caption', `Rows of the test table by label and prediction: ${of.target}`));
      const scroll = make('div', undefined, 'scroll');
      scroll.tabIndex = 0;
      scroll.setAttribute('role', 'region');
      scroll.setAttribute('aria-label', 'confusion matrix of ' + of.target);
      scroll.append(node);
      return scroll;
    }));
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
    ]);
    waits(status);
    result(status);
    learned(status);
    workers(status);
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
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { if (last) learned(last); });

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
