"use strict";
// Data files are scripts that call nbbench(name, value): a page opened from disk may load nothing else.
const nb = { views: {}, waiting: new Map() };
document.documentElement.classList.add("js");

function nbbench(name, value) {
  nb.waiting.get(name)?.resolve(value);
}

nb.script = (src) =>
  new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = src;
    script.onload = resolve;
    script.onerror = () => reject(new Error(`${src} is not beside this page: publish again, or copy the whole folder`));
    document.head.append(script);
  });

// The value of a data file, which is loaded once.
nb.load = (name) => {
  if (!nb.waiting.has(name)) {
    const one = {};
    one.promise = new Promise((resolve, reject) => Object.assign(one, { resolve, reject }));
    nb.waiting.set(name, one);
    nb.script(`nbbench/data/${name}.js`).catch((error) => {
      nb.waiting.delete(name);
      one.reject(error);
    });
  }
  return nb.waiting.get(name).promise;
};

// Rows of the index of series as objects; `id` is the row's number.
nb.index = async () => {
  if (!nb.rows) {
    const { words, rows } = await nb.load("series");
    nb.rows = rows.map(([name, parameters, machine, env, unit, role, phase, changes, points, shard], id) => {
      const one = { id, name: words[name], parameters: words[parameters], machine: words[machine], env: words[env] };
      Object.assign(one, { unit: words[unit], role: words[role], phase: words[phase], changes, points, shard });
      one.label = one.parameters ? `${one.name}(${one.parameters})` : one.name;
      one.key = [one.label, one.machine, one.env].join(" @ ");
      one.text = one.key.toLowerCase();
      return one;
    });
  }
  return nb.rows;
};

// A series with its points.
nb.series = async (row) => ({ ...row, ...(await nb.load(`series/${row.shard}`))[row.id] });
