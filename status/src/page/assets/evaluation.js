// Shows how well a model does on a table: a matrix, curves and residuals, each with its numbers. Computes nothing of its own.
'use strict';
lockstep.evaluation = (() => {
  const { make, isNumber, figure, whole, facts, table, scrolled, drawing, Plot } = lockstep;

  const titled = (level, text) => make('h' + level, text);
  const list = (pairs) => {
    const node = make('dl', undefined, 'facts');
    facts(node, pairs);
    return node;
  };
  // A table in a frame; its caption says what it is.
  const framed = (caption, columns, rows) => {
    const node = make('table');
    table(node, columns, rows, 'no rows');
    node.prepend(make('caption', caption));
    return scrolled(node, caption, rows.length > 20);
  };
  // A plot in `grid`, and what draws it.
  const plotted = (grid, draws, title, xName, lines, words) => {
    const frame = make('figure');
    grid.append(frame);
    const plot = new Plot(frame, title);
    draws.push(() => plot.show(xName, lines, { together: true, words }));
  };

  const matrix = ({ target, classes: { classes, confusion } }) => framed(
    `Rows by label and prediction: ${target}`,
    [['label \\ predicted', ([label]) => label], ...classes.map(({ label }, place) => [label, ([, counts]) => whole(counts[place]), 'number'])],
    classes.map(({ label }, place) => [label, confusion[place] ?? []]));

  const curves = (grid, draws, target, of) => {
    const name = `${target}: ${of.label}`;
    const { roc, precision_recall: found, calibration } = of;
    if (roc.x.length) {
      plotted(grid, draws, `ROC of ${name}`, 'share of other rows',
        [['share of its rows', 'blue', roc.x, roc.y], ['chance', 'dim', roc.x, roc.x]],
        `The area below the curve is ${figure(of.roc_auc)}; chance has 0.5`);
    }
    if (found.x.length) {
      plotted(grid, draws, `Precision by recall of ${name}`, 'recall',
        [['precision', 'blue', found.x, found.y]], `Average precision ${figure(of.average_precision)}`);
    }
    if (calibration.length) {
      const scores = calibration.map((bin) => bin.score);
      plotted(grid, draws, `Calibration of ${name}`, 'mean score',
        [['share of its rows', 'blue', scores, calibration.map((bin) => bin.share)], ['as predicted', 'dim', scores, scores]],
        `Scores are ${figure(of.calibration_error)} from the shares on average`);
    }
  };

  const ofClasses = (node, draws, found) => {
    const { target, classes: of } = found;
    const known = (value) => isNumber(value) ? value.toFixed(4) : '–';
    node.append(framed(`Classes of ${target}`, [
      ['Class', (row) => row.label, 'words'], ['Precision', (row) => known(row.precision), 'number'],
      ['Recall', (row) => known(row.recall), 'number'], ['F1', (row) => known(row.f1), 'number'], ['Rows', (row) => whole(row.support), 'number'],
    ], of.classes));
    if (isNumber(of.threshold)) node.append(make('p', `A row is of the second class where its score is above ${figure(of.threshold)}.`, 'note'));
    if (of.confusion.length) node.append(matrix(found));
    if (of.curves.length) {
      node.append(framed(`Each class against the rest: ${target}`, [
        ['Class', (row) => row.label, 'words'], ['Rows', (row) => whole(row.rows), 'number'], ['ROC AUC', (row) => known(row.roc_auc), 'number'],
        ['Average precision', (row) => known(row.average_precision), 'number'], ['Calibration error', (row) => known(row.calibration_error), 'number'],
      ], of.curves));
      if (of.curves_left_out) node.append(make('p', `${of.curves_left_out} classes with fewer rows have no curves here.`, 'note'));
      of.curves.forEach((curve) => {
        const grid = make('div', undefined, 'plots');
        node.append(titled(4, curve.label), grid);
        curves(grid, draws, target, curve);
      });
    }
  };

  const ofNumbers = (node, draws, { target, residuals: of }) => {
    node.append(list([['mean residual', figure(of.mean)], ['standard deviation', figure(of.deviation)],
      ['median size', figure(of.median_size)], ['largest size', figure(of.largest)]]));
    node.append(make('p', 'A residual is the value less what is predicted: above 0, the model predicts too little.', 'note'));
    const grid = make('div', undefined, 'plots');
    node.append(grid);
    plotted(grid, draws, `Residuals of ${target}`, 'predicted',
      [['residual', 'blue', of.points.x, of.points.y, 'points'], ['none', 'dim', of.points.x, of.points.x.map(() => 0)]],
      `Mean ${figure(of.mean)}, standard deviation ${figure(of.deviation)}, largest size ${figure(of.largest)}`);
    const centers = of.histogram.map((bin) => (bin.from + bin.to) / 2);
    plotted(grid, draws, `Rows by residual of ${target}`, 'residual',
      [['rows', 'blue', centers, of.histogram.map((bin) => bin.rows), 'bars']],
      `From ${figure(of.histogram[0]?.from)} to ${figure(of.histogram[of.histogram.length - 1]?.to)}`);
  };

  // A bar as long as a share of the longest; its cell has the number as well.
  const bar = (share) => {
    const node = drawing('svg', { width: 120, height: 12, viewBox: '0 0 120 12', 'aria-hidden': 'true' });
    node.append(drawing('rect', { class: 'amount', x: 0, y: 1, width: Math.max(0, 120 * share), height: 10 }));
    return node;
  };
  const ofColumns = (node, of) => {
    const most = Math.max(...of.columns.map((row) => row.worse ?? 0), 0);
    node.append(titled(3, 'Which columns it needs'));
    node.append(make('p', `How much worse ${of.metric} (${figure(of.value)}) gets when the cells of a column are shuffled among ${whole(of.rows)} rows: the mean of ${of.repeats} times, and the range.`, 'note'));
    node.append(framed(`Importance of columns for ${of.metric}`, [
      ['Column', (row) => row.column, 'words'], ['Of the most', (row) => bar(most > 0 ? (row.worse ?? 0) / most : 0)],
      ['Worse by', (row) => figure(row.worse), 'number'], ['Least', (row) => figure(row.least), 'number'], ['Most', (row) => figure(row.most), 'number'],
    ], of.columns));
    if (of.columns_left_out) node.append(make('p', `${of.columns_left_out} columns that matter less are left out.`, 'note'));
  };

  // Fills a node; what draws its plots again.
  return (node, of) => {
    const draws = [];
    const step = isNumber(of.step) ? `, after step ${whole(of.step)}` : '';
    const pairs = Object.entries(of.values).map(([name, value]) => [name === 'loss' && of.loss_is_scaled ? 'loss (scaled)' : name, figure(value)]);
    node.replaceChildren(make('p', `The model${step}, on the ${whole(of.rows)} rows of the ${of.table} table.`), list(pairs));
    for (const found of of.targets) {
      const part = make('div');
      part.append(titled(3, found.target));
      node.append(part);
      if (found.classes) ofClasses(part, draws, found);
      if (found.residuals) ofNumbers(part, draws, found);
    }
    if (of.targets_left_out) node.append(make('p', `${of.targets_left_out} more targets are left out.`, 'note'));
    if (of.importance) ofColumns(node, of.importance);
    if (of.importance_missing) node.append(make('p', `The importance of columns was not measured: ${of.importance_missing}`));
    draws.forEach((draw) => draw());
    return draws;
  };
})();
