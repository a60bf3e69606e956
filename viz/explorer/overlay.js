// What colours say: the part of the graph, or a number or a class of each operation.
// A closed box stands for all operations inside it.

class Overlays {
  constructor(model, theme) {
    this.model = model;
    this.theme = theme;
    this.current = "part";
    this.cache = new Map();
    this.parts = this.mostPart();
    this.kinds = this.offered();
  }

  // Overlays that say anything for this data, by name, with the label to pick.
  offered() {
    const { ops, values, devices, run } = this.model.data;
    const some = (column) => column.some((v) => v > 0);
    const found = { part: "part of the graph", order: run ? "order of the plan" : "order" };
    if (some(ops.bytes)) found.memory = "bytes made";
    if (some(ops.time)) found.time = "time";
    if (some(ops.flops)) found.flops = "flops";
    if (devices.some((d) => d)) found.device = "device";
    if (Object.keys(values).length) found.nan = "NaN and infinities";
    if (some(ops.gradient)) found.gradient = "gradient";
    return found;
  }

  // The part of most of what a box holds; sources go with the forward part.
  mostPart() {
    const { model } = this;
    const { ops, parts } = model.data;
    const counts = Array.from({ length: model.count }, () => null);
    const most = new Array(model.count);
    for (let b = model.count - 1; b >= 0; b--) {
      let own = counts[b] || new Map();
      if (model.op[b] >= 0) {
        const key = parts[ops.part[model.op[b]]];
        most[b] = key;
        const inside = ["input", "variable", "constant"].includes(key) ? "forward" : key;
        own = new Map([[inside, (own.get(inside) || 0) + 1]]);
      } else {
        let best = "forward", n = 0;
        for (const [key, k] of own) if (k > n) [best, n] = [key, k];
        most[b] = best;
      }
      if (b) {
        const p = model.parent[b];
        const above = counts[p] || (counts[p] = new Map());
        for (const [key, k] of own) above.set(key, (above.get(key) || 0) + k);
      }
      counts[b] = null;
    }
    return most;
  }

  // A number for each box (NaN: none), and its range.
  column(name) {
    const known = this.cache.get(name);
    if (known) return known;
    const { model } = this;
    const { ops, values } = model.data;
    const of = {
      order: (o) => ops.order[o], memory: (o) => ops.bytes[o], time: (o) => ops.time[o],
      flops: (o) => ops.flops[o], gradient: (o) => ops.gradient[o] || -1,
      nan: (o) => (values[o] ? values[o][0] + 1 : -1), device: (o) => ops.device[o],
    }[name];
    const add = {
      order: Math.min, device: (a, b) => (a === b ? a : -2),
      // Cut counts most, then flowing, then the gradient itself.
      gradient: (a, b) => [2, 1, 3].find((v) => v === a || v === b),
      nan: Math.max,
    }[name] || ((a, b) => a + b);
    const column = new Float64Array(model.count).fill(NaN);
    for (let b = model.count - 1; b >= 0; b--) {
      const o = model.op[b];
      const own = o >= 0 ? of(o) : -1;
      // A control operation's own numbers cover its bodies.
      if (own >= 0) column[b] = own;
      if (b && !Number.isNaN(column[b])) {
        const p = model.parent[b];
        column[p] = Number.isNaN(column[p]) ? column[b] : add(column[p], column[b]);
      }
    }
    let low = Infinity, high = -Infinity;
    for (let b = 0; b < model.count; b++) {
      if (model.op[b] >= 0 && column[b] >= 0) {
        if (column[b] > 0 || name === "order") low = Math.min(low, column[b]);
        high = Math.max(high, column[b]);
      }
    }
    const found = { column, low, high };
    this.cache.set(name, found);
    return found;
  }

  // Between 0 and 1, on a scale of ratios but for the order.
  place(name, value) {
    const { low, high } = this.column(name);
    if (!(high > low)) return 0.5;
    if (name === "order") return (value - low) / (high - low);
    if (value <= low) return 0;
    return Math.min(1, Math.log(value / low) / Math.log(high / low));
  }

  // Fill, line and text of a closed box, and its second line where that changes.
  look(box) {
    const { theme, current, model } = this;
    const [fill, line] = theme.part(this.parts[box]);
    if (current === "part") return { fill, line, text: null, said: null };
    const value = this.column(current).column[box];
    const none = { fill: theme.colours.none, line: theme.colours.scopeLine, text: null, said: "" };
    const ratios = ["memory", "time", "flops"].includes(current);
    if (Number.isNaN(value) || (ratios && value <= 0)) return none;
    if (["nan", "device", "gradient"].includes(current)) {
      const classes = this.classes();
      const found = classes.find((c) => c.value === value);
      return found ? { fill: found.fill, line: found.line, text: found.ink, said: found.label } : none;
    }
    const t = this.place(current, value);
    return { fill: ramp(t), line, text: onRamp(t), said: this.text(value, box) };
  }

  text(value, box) {
    switch (this.current) {
      case "memory": return bytesText(value);
      case "time": return timeText(value);
      case "flops": return flopsText(value);
      default:
        return box !== undefined && this.model.op[box] < 0 ? `from ${value}` : `no. ${value}`;
    }
  }

  // The classes of an overlay that has no scale.
  classes() {
    const okabe = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"];
    const made = (value, label, fill, ink) => ({ value, label, fill, line: fill, ink });
    if (this.current === "nan") {
      return [
        made(1, "finite", "#009e73", "#ffffff"),
        made(2, "NaN or infinite", "#d55e00", "#ffffff"),
      ];
    }
    if (this.current === "gradient") {
      return [
        made(1, "gradient flows", "#0072b2", "#ffffff"),
        made(2, "gradient is cut", "#d55e00", "#ffffff"),
        made(3, "the gradient itself", "#f0c9a8", "#14171b"),
      ];
    }
    const devices = this.model.data.devices;
    const found = devices.map((name, i) => made(
      i, name || "none given", name ? okabe[i % 7] : this.theme.colours.none,
      name ? (i % 7 === 6 || i % 7 === 4 || i % 7 === 1 ? "#14171b" : "#ffffff") : null
    ));
    found.push(made(-2, "several", "#8d98a4", "#14171b"));
    return found;
  }

  // The legend, as elements.
  legend(into) {
    into.replaceChildren();
    const { theme, current } = this;
    const key = (label, fill, line, wire) => {
      const span = element("span", "key");
      const mark = element("i", wire ? "wire" : "");
      if (!wire) mark.style.background = fill;
      mark.style.borderColor = line;
      if (wire === "dashed") mark.style.borderTopStyle = "dashed";
      span.append(mark, label);
      into.append(span);
    };
    if (current === "part") {
      const seen = new Set(this.parts);
      for (const [name, look] of Object.entries(theme.looks)) {
        if (seen.has(name)) key(look[0], ...theme.part(name));
      }
      key("tensors", "", theme.colours.line, "solid");
      if (this.model.linkKind.includes(KEPT)) {
        key("kept for the gradient", "", theme.colours.kept, "solid");
      }
      if (this.model.linkKind.includes(CONTROL)) {
        key("waits for", "", theme.colours.line, "dashed");
      }
      return;
    }
    into.append(element("strong", "", this.kinds[current]));
    if (["nan", "device", "gradient"].includes(current)) {
      const { column } = this.column(current);
      const there = new Set(column);
      for (const c of this.classes()) if (there.has(c.value)) key(c.label, c.fill, c.line);
      key(current === "gradient" ? "no gradient" : "nothing known", theme.colours.none, theme.colours.scopeLine);
      if (current === "gradient") into.append(element("span", "", "as the graph is built: values are not looked at"));
      return;
    }
    const { low, high } = this.column(current);
    const bar = element("span", "ramp");
    const stops = [0, 0.25, 0.5, 0.75, 1].map(ramp);
    bar.style.background = `linear-gradient(90deg, ${stops.join(",")})`;
    into.append(this.text(low), bar, this.text(high));
    if (current !== "order") into.append(element("span", "", "log scale"));
  }
}

function element(tag, name = "", text = "") {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text) made.textContent = text;
  return made;
}
