// Live bytes over the steps of the plan, under the graph and linked to it: a step
// lights up what is alive, a box shows how long its tensors live.

const MOST_BANDS = 12;
const LEFT = 76, RIGHT = 14, TOP = 24, BOTTOM = 20;

class Timeline {
  constructor(run, canvas, theme, chosen) {
    this.canvas = canvas;
    this.theme = theme;
    this.chosen = chosen; // called with a step, or -1
    this.step = -1;
    this.lives = []; // of the selected box: tensors
    this.context = canvas.getContext("2d");
    this.runs = [run, ...run.bodies];
    this.use(run);
    canvas.addEventListener("pointerdown", (e) => {
      canvas.setPointerCapture(e.pointerId);
      this.pick(e);
    });
    canvas.addEventListener("pointermove", (e) => {
      if (e.buttons) this.pick(e);
    });
    canvas.addEventListener("keydown", (e) => this.key(e));
  }

  // The whole run, or the plan of a body: of one round of a loop, say.
  use(run) {
    this.run = run;
    this.step = -1;
    this.lives = [];
    this.canvas.setAttribute("aria-valuemax", String(run.steps.length - 1));
    this.say();
  }

  // The plan that knows most of a box: its own, or of the body around it.
  runOf(box, model) {
    const [whole, ...bodies] = this.runs;
    if (box < 0 || whole.steps.includes(box)) return whole;
    const inside = insideOf(model, box);
    const around = [box, ...model.around(box)];
    return bodies.find((r) => r.steps.includes(box)) ||
      (whole.steps.some(inside) ? whole : null) ||
      bodies.find((r) => r.steps.some(inside)) ||
      bodies.find((r) => around.includes(r.within)) || whole;
  }

  // The tensors alive at a step, the largest first.
  aliveAt(step) {
    return this.run.tensors
      .filter((t) => t[4] <= step && step <= t[5])
      .sort((a, b) => b[3] - a[3]);
  }

  livesOf(inside) {
    return this.run.tensors.filter((t) => t[0] >= 0 && inside(t[0]));
  }

  // Of many tensors those that hold most for longest, in the order of their births.
  weightiest() {
    const held = (t) => t[3] * (t[5] - t[4] + 1);
    return [...this.lives].sort((a, b) => held(b) - held(a)).slice(0, MOST_BANDS)
      .sort((a, b) => a[4] - b[4] || a[5] - b[5]);
  }

  choose(step) {
    const last = this.run.steps.length - 1;
    this.step = step < 0 ? -1 : Math.min(last, step);
    this.say();
    this.draw();
    this.chosen(this.step);
  }

  say() {
    const { run, step } = this;
    const at = step < 0 ? run.peak : step;
    this.canvas.setAttribute("aria-valuenow", String(Math.max(0, step)));
    this.canvas.setAttribute(
      "aria-valuetext",
      `${step < 0 ? "no step chosen; the peak is" : ""} step ${at}, ${run.names[at]}, ${bytesText(run.live[at])} alive`
    );
  }

  pick(e) {
    const box = this.canvas.getBoundingClientRect();
    const x = e.clientX - box.left;
    const n = this.run.steps.length;
    let step = Math.floor(((x - LEFT) / (this.width - LEFT - RIGHT)) * n);
    step = Math.max(0, Math.min(n - 1, step));
    // The peak's mark is as easy to hit on a long run as on a short one.
    if (Math.abs(this.x(this.run.peak + 0.5) - x) < 6) step = this.run.peak;
    if (step !== this.step) this.choose(step);
  }

  key(e) {
    const n = this.run.steps.length;
    const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[e.key];
    if (by) this.choose(Math.max(0, Math.min(n - 1, (this.step < 0 ? this.run.peak : this.step) + by)));
    else if (e.key === "Home") this.choose(0);
    else if (e.key === "End") this.choose(n - 1);
    else if (e.key === "p" || e.key === "Enter") this.choose(this.run.peak);
    else if (e.key === "Escape") this.choose(-1);
    else return;
    e.preventDefault();
    e.stopPropagation();
  }

  x(step) {
    return LEFT + ((this.width - LEFT - RIGHT) * step) / this.run.steps.length;
  }

  draw() {
    const { canvas, context, run } = this;
    const { colours } = this.theme;
    const ratio = devicePixelRatio || 1;
    this.width = canvas.clientWidth;
    const height = canvas.clientHeight;
    canvas.width = Math.round(this.width * ratio);
    canvas.height = Math.round(height * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.width, height);
    const most = Math.max(1, ...columns(run.live, 2000), ...columns(run.measured || [], 2000));
    const y = (bytes) => height - BOTTOM - ((height - TOP - BOTTOM) * bytes) / most;
    this.axes(y, most, height);
    context.fillStyle = colours.area;
    this.stairs(run.live, y);
    context.lineTo(this.x(run.steps.length), y(0));
    context.lineTo(this.x(0), y(0));
    context.fill();
    context.strokeStyle = colours.stroke;
    context.lineWidth = 1.4;
    this.stairs(run.live, y);
    context.stroke();
    if (run.measured) {
      context.strokeStyle = colours.measured;
      context.setLineDash([5, 3]);
      this.stairs(run.measured, y);
      context.stroke();
      context.setLineDash([]);
    }
    this.bands(y, height);
    this.marks(y, height);
    this.words();
  }

  // A staircase: of many steps in one pixel the highest counts.
  stairs(values, y) {
    const { context } = this;
    const n = values.length;
    const size = Math.max(1, Math.ceil(n / Math.max(1, this.width)));
    context.beginPath();
    context.moveTo(this.x(0), y(0));
    for (let i = 0; i < n; i += size) {
      let most = 0;
      for (let k = i; k < Math.min(n, i + size); k++) most = Math.max(most, values[k]);
      context.lineTo(this.x(i), y(most));
      context.lineTo(this.x(Math.min(n, i + size)), y(most));
    }
    context.lineTo(this.x(n), y(0));
  }

  axes(y, most, height) {
    const { context } = this;
    const { colours } = this.theme;
    context.font = `10px ${FONT}`;
    context.textBaseline = "middle";
    for (const part of [0, 0.5, 1]) {
      context.strokeStyle = colours.grid;
      context.lineWidth = 1;
      context.beginPath();
      context.moveTo(LEFT, y(most * part));
      context.lineTo(this.width - RIGHT, y(most * part));
      context.stroke();
      context.fillStyle = colours.muted;
      context.textAlign = "right";
      context.fillText(bytesText(Math.round(most * part)), LEFT - 8, y(most * part));
    }
    const n = this.run.steps.length;
    context.textBaseline = "alphabetic";
    context.textAlign = "center";
    const every = Math.max(1, niceStep(n / 8));
    for (let i = 0; i < n; i += every) {
      context.fillText(String(i), this.x(i + 0.5), height - 6);
    }
  }

  // The lives of the selected box's tensors, as bars.
  bands(y, height) {
    const { context } = this;
    const { colours } = this.theme;
    const room = height - TOP - BOTTOM;
    const shown = this.weightiest();
    const tall = Math.max(2, Math.min(7, room / Math.max(1, shown.length) - 2));
    context.globalAlpha = 0.8;
    shown.forEach((t, i) => {
      const top = TOP + 2 + i * (tall + 2);
      const x0 = this.x(Math.max(0, t[4])), x1 = this.x(t[5] + 1);
      context.fillStyle = colours.lit;
      context.strokeStyle = colours.text;
      context.lineWidth = 0.6;
      context.beginPath();
      context.roundRect(x0, top, Math.max(3, x1 - x0), tall, 2);
      context.fill();
      context.stroke();
    });
    context.globalAlpha = 1;
  }

  marks(y, height) {
    const { context, run } = this;
    const { colours } = this.theme;
    const line = (step, colour, dash) => {
      const x = this.x(step + 0.5);
      context.strokeStyle = colour;
      context.lineWidth = 1.4;
      context.setLineDash(dash);
      context.beginPath();
      context.moveTo(x, TOP - 6);
      context.lineTo(x, height - BOTTOM);
      context.stroke();
      context.setLineDash([]);
      return x;
    };
    const x = line(run.peak, colours.peak, [3, 3]);
    context.fillStyle = colours.peak;
    context.beginPath();
    context.arc(x, y(run.live[run.peak]), 4, 0, 7);
    context.fill();
    if (this.step >= 0) line(this.step, colours.text, []);
  }

  words() {
    const { context, run } = this;
    const { colours } = this.theme;
    context.font = `11px ${FONT}`;
    context.textAlign = "left";
    let x = LEFT;
    const say = (text, colour, bold) => {
      context.font = `${bold ? "bold " : ""}11px ${FONT}`;
      context.fillStyle = colour;
      context.fillText(text, x, 13);
      x += context.measureText(text).width + 16;
    };
    say(run === this.runs[0] ? "Live bytes by step" : "Live bytes by step of the body", colours.text, true);
    say("— planned", colours.stroke);
    if (run.measured) say("- - measured", colours.measured);
    say(`peak ${bytesText(run.live[run.peak])} at step ${run.peak} (click it)`, colours.peak);
    if (this.step >= 0) {
      const name = run.names[this.step];
      say(`step ${this.step}: ${name.length > 48 ? name.slice(0, 47) + "…" : name}, ${bytesText(run.live[this.step])}`, colours.text);
    } else if (this.lives.length) {
      const more = this.lives.length > MOST_BANDS ? `, the ${MOST_BANDS} that hold most` : "";
      say(`${count(this.lives.length, "tensor")} of the selection${more}`, colours.text);
    }
  }
}

// The highest of each of at most n groups: no argument list grows too long.
function columns(values, n) {
  const size = Math.max(1, Math.ceil(values.length / n));
  const found = [];
  for (let i = 0; i < values.length; i += size) {
    let most = 0;
    for (let k = i; k < Math.min(values.length, i + size); k++) most = Math.max(most, values[k]);
    found.push(most);
  }
  return found;
}

function niceStep(rough) {
  const unit = 10 ** Math.floor(Math.log10(Math.max(1, rough)));
  return [1, 2, 5, 10].map((k) => k * unit).find((v) => v >= rough) || 1;
}
