// What a page is made of: texts, tables and plots. No text is ever taken for markup, and nothing is asked of any other host.
'use strict';
const lockstep = (() => {
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
  // The figures of an axis, with as many digits as tell them apart.
  const ticked = (ticks, grows) => {
    const known = ticks.filter(isNumber);
    const size = Math.max(...known.map(Math.abs));
    const digits = known.length < 2 ? 3 : 1 + Math.ceil(Math.log10(size / (known[1] - known[0])));
    return ticks.map((value) => {
      if (!isNumber(value)) return '';
      const short = Number(value.toPrecision(Math.min(15, Math.max(3, digits))));
      const of = grows ? Math.abs(value) : size;
      return short !== 0 && (of < 1e-2 || of >= 1e6) ? short.toExponential() : String(short);
    });
  };
  // From where to where an axis goes. What never changes, but for rounding, is in its middle, as far from the ends as half its size.
  const range = (least, most) => {
    if (!isNumber(least) || !isNumber(most)) return [0, 1];
    const size = Math.max(Math.abs(least), Math.abs(most));
    if (most - least > 1e-6 * size) return uPlot.rangeNum(least, most, 0.1, true);
    const room = size === 0 ? 1 : size / 2;
    return [least - room, most + room];
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

  const drawing = (tag, attributes) => {
    const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
    Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
    return node;
  };
  // What may be wider than the window, in a frame of its own.
  const scrolled = (node, label, isTall) => {
    const scroll = make('div', undefined, isTall ? 'scroll tall' : 'scroll');
    scroll.tabIndex = 0;
    scroll.setAttribute('role', 'region');
    scroll.setAttribute('aria-label', label);
    scroll.append(node);
    return scroll;
  };

  const dashes = [undefined, [6, 3], [2, 3], [12, 3, 2, 3], [10, 6], [4, 2, 1, 2], [1, 5], [14, 4, 4, 4]];

  // A plot with its words and its numbers. A line is [name, colour, xs, ys, style]; a style is `line`, `steps`, `points` or
  // `bars`. Lines that are `together` have the xs of the first, which may be there several times. Where values differ by orders of
  // magnitude the axis `grows` by them.
  class Plot {
    constructor(node, title) {
      this.caption = make('figcaption', title);
      this.place = make('div', undefined, 'plot');
      this.place.setAttribute('role', 'img');
      this.numbers = make('table');
      const details = make('details');
      details.append(make('summary', 'Numbers: ' + title));
      details.append(scrolled(this.numbers, 'numbers of ' + title, true));
      details.addEventListener('toggle', () => this.fillNumbers());
      this.details = details;
      this.title = title;
      node.append(this.caption, this.place, details);
      new ResizeObserver(() => this.fit()).observe(this.place);
    }
    fit() {
      if (this.plot) this.plot.setSize({ width: this.place.clientWidth, height: 220 });
    }
    show(xName, lines, { together = false, keeps = false, grows = false, words } = {}) {
      // Of lines that are compared each keeps its place, and so its dashes.
      this.lines = keeps && lines.some(([, , xs]) => xs.length > 0) ? lines : lines.filter(([, , xs]) => xs.length > 0);
      this.xName = xName;
      this.grows = grows;
      this.together = together;
      const said = this.lines.map(([name, , , ys]) => {
        const known = ys.filter(isNumber);
        return known.length ? `${name}: ${figure(known[0])} at first, ${figure(known[known.length - 1])} now` : `${name}: no numbers`;
      });
      this.place.setAttribute('aria-label', `${this.title} by ${xName}. ${words || said.join('; ') || 'nothing yet'}.`);
      this.fillNumbers();
      const data = this.joined();
      const shape = JSON.stringify([xName, this.lines.map(([name, , , , style]) => [name, style]), colour('text')]);
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
      if (this.together) return [this.lines[0][2], ...this.lines.map(([, , , ys]) => ys)];
      // On an axis that grows there is no place for 0.
      const shown = (ys) => this.grows ? ys.map((value) => value > 0 ? value : null) : ys;
      return uPlot.join(this.lines.map(([, , xs, ys]) => [xs, shown(ys)]));
    }
    options() {
      const axis = (more) => ({ stroke: colour('text'), grid: { stroke: colour('grid') }, ticks: { stroke: colour('grid') }, ...more });
      const styles = {
        steps: { paths: uPlot.paths.stepped({ align: -1 }) },
        points: { paths: () => null, points: { show: true, size: 4, fill: colour('blue') } },
        bars: { paths: uPlot.paths.bars({ size: [0.95, 200] }), fill: colour('bar'), width: 1 },
      };
      const series = this.lines.map(([name, stroke, xs, , style], place) => ({
        label: name, stroke: colour(stroke), width: 2, spanGaps: true, dash: dashes[place % dashes.length],
        points: { show: xs.length < 2 }, value: (_, value) => figure(value), ...styles[style],
      }));
      // Of an axis that grows only the powers of ten have lines.
      const powers = { stroke: colour('grid'), filter: (_, ticks) => ticks.map((value) => Number.isInteger(Math.round(1e6 * Math.log10(value)) / 1e6) ? value : null) };
      const ticks = (size, grows) => axis({ size, values: (_, ticks) => ticked(ticks, grows), ...(grows && { grid: powers, ticks: powers }) });
      return {
        width: this.place.clientWidth || 300, height: 220, cursor: { drag: { x: true, y: false } },
        scales: { x: { time: false }, y: this.grows ? { distr: 3 } : { range: (_, least, most) => range(least, most) } },
        axes: [ticks(34), ticks(64, this.grows)],
        series: [{ label: this.xName, value: (_, value) => figure(value) }, ...series],
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

  return { $, make, colour, isNumber, figure, whole, percent, duration, clock, facts, table, scrolled, drawing, dashes, Plot };
})();
