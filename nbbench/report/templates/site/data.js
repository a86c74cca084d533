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

// Figures are kept as whole numbers, to be multiplied by a power of ten.
nb.unpacked = (values, power) => values.map((v) => (v === null ? null : power < 0 ? v / 10 ** -power : v * 10 ** power));
nb.whole = (one) => {
  const made = { ...one };
  for (const part of ["v", "lo", "hi"]) if (one[part]) made[part] = nb.unpacked(one[part], one.e);
  if (one.c) made.c = one.c.map((values) => nb.unpacked(values, -8));
  return made;
};

// A series with its points, the curves of the branch, the samples of a series (a list for each point).
nb.series = async (row) => {
  const { at, series } = await nb.load(`series/${row.shard}`);
  return { ...row, ...nb.whole({ ...series[row.id], at: at[series[row.id].at] }) };
};
nb.curves = async () => {
  const { at, curves } = await nb.load("branch");
  return (nb.branch ??= curves.map((one) => nb.whole({ ...one, at: at[one.at] })));
};
nb.samples = async (one) => (await nb.load(`samples/${one.shard}`))[one.id]?.map((values) => nb.unpacked(values, one.e));
