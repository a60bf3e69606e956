// Everything about the selected box, or about a step.  All text from the graph goes in
// as text content, never as markup.

class Panel {
  constructor(model, into, app) {
    this.model = model;
    this.into = into;
    this.app = app;
  }

  clear() {
    const { data } = this.model;
    this.into.replaceChildren(
      element("h2", "", data.title),
      element("p", "", data.facts.join(", ")),
      element("p", "", "Click a box for its details, double-click or Enter to open a scope.")
    );
    if (data.run) {
      this.into.append(element("h3", "", "Plan"));
      const facts = [
        ["steps", data.run.steps.length.toLocaleString("en")],
        ["peak", `${data.run.live[data.run.peak].toLocaleString("en")} bytes`],
        ["with what kernels allocate", `${data.run.peakBytes.toLocaleString("en")} bytes`],
        ["order", data.run.order],
      ];
      this.into.append(pairs(facts));
    }
  }

  show(box) {
    const { model, into } = this;
    const op = model.op[box];
    into.replaceChildren(element("h2", "", op >= 0 ? model.data.ops.name[op] : this.path(box)));
    if (model.opens(box)) this.scope(box);
    if (op >= 0) this.operation(box, op);
    this.links(box);
    into.scrollTop = 0;
  }

  path(box) {
    return [...this.model.around(box).reverse().slice(1), box]
      .filter((b) => this.model.kind[b] !== RUN || b === box)
      .map((b) => this.model.label[b])
      .join("/");
  }

  scope(box) {
    const { model, app } = this;
    const kinds = ["operation with bodies", "scope", "run of siblings", "body"];
    const open = app.open.has(box);
    const button = element("button", "", open ? "Close" : "Open");
    button.type = "button";
    button.addEventListener("click", () => app.toggle(box));
    const says = `${kinds[model.kind[box]]}, ${count(model.total[box], "operation")}`;
    this.into.append(element("p", "", says), button);
    if (model.op[box] >= 0) return;
    const sums = [];
    for (const [name, text] of [["memory", bytesText], ["flops", flopsText], ["time", timeText]]) {
      if (!app.overlays.kinds[name]) continue;
      const value = app.overlays.column(name).column[box];
      if (value >= 0) sums.push([{ memory: "bytes made", flops: "flops", time: "time" }[name], text(value)]);
    }
    this.into.append(pairs(sums));
    const types = new Map();
    const last = insideOf(model, box);
    for (let b = box; b < model.count && last(b); b++) {
      if (model.op[b] < 0) continue;
      const type = model.data.types[model.data.ops.type[model.op[b]]];
      types.set(type, (types.get(type) || 0) + 1);
    }
    this.into.append(element("h3", "", "Types"));
    const sorted = [...types].sort((a, b) => b[1] - a[1]).slice(0, 12);
    this.into.append(pairs(sorted.map(([type, n]) => [type, n.toLocaleString("en")])));
  }

  operation(box, op) {
    const { data } = this.model;
    const { ops, types, parts, looks, specs, devices, sources, values } = data;
    const facts = [["type", types[ops.type[op]]], ["part", looks[parts[ops.part[op]]][0]]];
    ops.out[op].forEach((spec, i) => facts.push([ops.out[op].length > 1 ? `output ${i}` : "output", specs[spec]]));
    if (devices[ops.device[op]]) facts.push(["device", devices[ops.device[op]]]);
    facts.push(["bytes made", ops.bytes[op] < 0 ? "not known" : `${ops.bytes[op].toLocaleString("en")} (${bytesText(ops.bytes[op])})`]);
    facts.push(["flops", ops.flops[op] < 0 ? "not known" : flopsText(ops.flops[op])]);
    if (ops.time[op] >= 0) facts.push(["time", timeText(ops.time[op])]);
    if (ops.order[op] >= 0) facts.push([data.run ? "step" : "number", ops.order[op].toLocaleString("en")]);
    const marks = ["", "flows through", "is cut here", "this is part of it"];
    if (ops.gradient[op]) facts.push(["gradient", marks[ops.gradient[op]]]);
    const list = pairs(facts);
    const [said, href] = sources[ops.source[op]];
    if (said) {
      const link = element(href ? "a" : "span", "", said);
      if (href) {
        link.href = href;
        link.rel = "noreferrer";
      }
      const dd = element("dd");
      dd.append(link);
      list.append(element("dt", "", "source"), dd);
    }
    this.into.append(list);
    if (ops.attrs[op]) {
      this.into.append(element("h3", "", "Attributes"), pairs(ops.attrs[op]));
    }
    const notes = data.boxes.notes[box];
    if (notes) {
      this.into.append(element("h3", "", "Also reads"));
      const ul = element("ul");
      for (const note of notes) ul.append(element("li", "", note));
      this.into.append(ul);
    }
    if (values[op]) {
      this.into.append(element("h3", "", "Values"));
      for (const line of values[op][1]) this.into.append(element("p", "", line));
    }
    const forward = ops.forward[op];
    if (forward >= 0) this.group("Gradient of", [[ops.home[forward], ops.name[forward], ""]]);
    this.lives(box);
  }

  // When its tensors are made and last used.
  lives(box) {
    if (!this.app.timeline) return;
    const { run } = this.app.timeline;
    const lives = run.tensors.filter((t) => t[0] === box);
    if (!lives.length) return;
    this.into.append(element("h3", "", "Lifetime"));
    for (const t of lives) {
      const until = t[5] >= run.steps.length - 1 ? "the end" : `step ${t[5]}`;
      this.into.append(element("p", "", `${t[2]}, ${bytesText(t[3])}: step ${Math.max(0, t[4])} to ${until}`));
    }
  }

  // Whom a box reads and who reads it.
  links(box) {
    const { model } = this;
    const { ops, specs } = model.data;
    const last = model.last(box);
    const gather = (mine, theirs) => {
      const found = new Map();
      for (const k of model.linksAt(box, mine)) {
        if (theirs[k] >= box && theirs[k] <= last || found.has(theirs[k])) continue;
        const from = model.op[model.tail[k]], output = model.linkOutput[k];
        found.set(theirs[k], output >= 0 && from >= 0 ? specs[ops.out[from][output]] : "waits");
      }
      return found;
    };
    const ins = gather(model.head, model.tail), outs = gather(model.tail, model.head);
    const rows = (map) => [...map].map(([b, spec]) => [b, ops.name[model.op[b]] || model.label[b], spec]);
    this.group("Inputs", rows(ins));
    this.group("Outputs", rows(outs));
  }

  group(title, rows) {
    if (!rows.length) return;
    this.into.append(element("h3", "", rows.length > 1 ? `${title} (${rows.length.toLocaleString("en")})` : title));
    const ul = element("ul");
    for (const [box, name, spec] of rows.slice(0, 40)) {
      const li = element("li");
      const go = element("button", "go", name.length > 300 ? name.slice(0, 299) + "…" : name);
      go.type = "button";
      go.disabled = box < 0;
      go.addEventListener("click", () => this.app.goTo(box));
      li.append(go, " ", element("small", "", spec));
      ul.append(li);
    }
    if (rows.length > 40) ul.append(element("li", "", `and ${(rows.length - 40).toLocaleString("en")} more`));
    this.into.append(ul);
  }

  // What is alive at a step.
  step(step, alive) {
    const { run } = this.app.timeline;
    const peak = step === run.peak ? ", the peak" : "";
    this.into.replaceChildren(
      element("h2", "", `Step ${step.toLocaleString("en")}${peak}`),
      element("p", "", run.names[step]),
      element("p", "", `${run.live[step].toLocaleString("en")} bytes in ${count(alive.length, "tensor")}` +
        (run.seconds ? `, ${timeText(run.seconds[step] * 1e9)}` : ""))
    );
    this.into.append(element("h3", "", "Alive, the largest first"));
    const table = element("table");
    const head = element("tr");
    for (const name of ["tensor", "bytes", "steps"]) head.append(element("th", "", name));
    table.append(head);
    for (const [box, name, spec, bytes, first, last] of alive.slice(0, 60)) {
      const row = element("tr");
      const cell = element("td");
      const go = element("button", "go", name.length > 120 ? name.slice(0, 119) + "…" : name);
      go.type = "button";
      go.disabled = box < 0;
      go.addEventListener("click", () => this.app.goTo(box));
      cell.append(go, element("br"), element("small", "", spec));
      row.append(cell, element("td", "number", bytesText(bytes)),
        element("td", "number", `${Math.max(0, first)}–${last}`));
      table.append(row);
    }
    const rest = run.live[step] - alive.reduce((sum, t) => sum + t[3], 0);
    if (rest > 0) {
      const row = element("tr");
      row.append(element("td", "", "scratch of this step, bodies of loops, padding"),
        element("td", "number", bytesText(rest)), element("td"));
      table.append(row);
    }
    this.into.append(table);
    if (alive.length > 60) this.into.append(element("p", "", `and ${alive.length - 60} smaller ones`));
  }
}

function pairs(rows) {
  const list = element("dl");
  for (const [name, value] of rows) {
    list.append(element("dt", "", String(name)), element("dd", "", String(value)));
  }
  return list;
}
