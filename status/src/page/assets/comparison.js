// Shows runs side by side. No text from them is ever taken for markup, and nothing is asked of any other host.
'use strict';
(() => {
  const { $, make, figure, whole, duration, table, scrolled, drawing, dashes, Plot } = lockstep;
  const of = JSON.parse($('inlined-comparison').textContent);
  const colours = ['blue', 'orange', 'green', 'red', 'amber'];
  const colour = (place) => colours[place % colours.length];
  const titles = of.runs.map((run, place) => `${place + 1}: ${run.folder}`);

  document.title = `${of.runs.length} runs – Lockstep`;
  $('said').textContent = of.runs.map((run) => run.name).filter((name, place, all) => all.indexOf(name) === place).join(', ');
  $('about').textContent = `Lockstep ${of.lockstep}; as of ${new Date(of.at * 1000).toLocaleString()}.`;

  const framed = (place, label, columns, rows, empty) => {
    const node = make('table');
    table(node, columns, rows, empty);
    $(place).replaceChildren(scrolled(node, label));
  };
  const names = [...new Set(of.runs.flatMap((run) => Object.keys(run.values)))].sort();
  const began = (run) => run.started ? new Date(run.started * 1000).toLocaleString() : '–';
  framed('runs', 'runs', [
    ['', (row) => row[0]], ...titles.map((title, place) => [title, (row) => row[1](of.runs[place]), 'number']),
  ], [
    ['job', (run) => run.name], ['state', (run) => run.state], ['begun', began], ['steps', (run) => whole(run.step)],
    ['trained for', (run) => duration(run.seconds)], ['rows a second', (run) => whole(run.rows_per_second)],
    ['best epoch', (run) => run.best_epoch ?? '–'],
    ...names.map((name) => [name, (run) => figure(run.values[name])]),
    ['weights, BLAKE3', (run) => run.weights_blake3 ? make('code', run.weights_blake3) : '–'],
  ], 'no runs');

  framed('keys', 'keys of the jobs', [
    ['Key', (row) => row.key], ...titles.map((title, place) => [title, (row) => row.values[place] ?? '–', 'words']),
  ], of.keys, 'Nothing: the jobs are the same.');
  if (of.keys_left_out) $('keys').append(make('p', `${of.keys_left_out} more keys differ.`, 'note'));

  // A sample of each line, so that they can be told apart without colours.
  $('legend').append(...titles.map((title, place) => {
    const sample = drawing('svg', { width: 64, height: 12, viewBox: '0 0 64 12', 'aria-hidden': 'true' });
    const dash = dashes[place % dashes.length];
    sample.append(drawing('line', { class: 'sample ' + colour(place), x1: 0, y1: 6, x2: 64, y2: 6, ...(dash && { 'stroke-dasharray': dash.join(' ') }) }));
    const item = make('li');
    item.append(sample, ' ', title);
    return item;
  }));
  const curves = [...new Set(of.runs.flatMap((run) => run.epochs.flatMap((epoch) => Object.keys(epoch.values))))].sort();
  const draws = curves.map((name) => {
    const frame = make('figure');
    $('curves').append(frame);
    const plot = new Plot(frame, name);
    const lines = of.runs.map((run, place) => [titles[place], colour(place), run.epochs.map((epoch) => epoch.epoch),
      run.epochs.map((epoch) => epoch.values[name] ?? null)]);
    return () => plot.show('epoch', lines, { keeps: true });
  });
  const draw = () => draws.forEach((one) => one());
  draw();
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
})();
