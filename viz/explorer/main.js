// The page: reads the data, asks the worker for layouts, and ties the parts together.

const KEYS = [
  ["↑ ↓", "to an input, to an output of the selected box"],
  ["← →", "to a neighbour in the same scope"],
  ["Enter", "open or close the selected scope (or double-click)"],
  ["Backspace", "to the scope around"],
  ["Escape", "select nothing"],
  ["+ −", "nearer, farther (or the wheel)"],
  ["0, f", "show everything, show the selection"],
  ["w a s d", "move the view (or drag)"],
  ["e, E", "open one more level, close everything"],
  ["/", "search"],
  ["c", "next colouring"],
  ["p", "the peak of memory"],
  ["o", "scopes as a list"],
  ["t", "light or dark"],
  ["?", "these keys"],
];

// More boxes than this are not opened at once by "open one more level".
const MOST_OPEN = 6000;

// More boxes in sight than this are not drawn again for each frame of a movement,
// but when the view has rested so many milliseconds.
const MUCH = 400, SETTLED = 130;

const get = (id) => document.getElementById(id);

class App {
  constructor(data, text) {
    this.model = new Model(data);
    this.open = new Set([0]);
    this.theme = new Theme(data.looks);
    this.overlays = new Overlays(this.model, this.theme);
    this.canvas = get("graph");
    this.context = this.canvas.getContext("2d");
    this.camera = new Camera(this.canvas, () => this.moved());
    // The last picture of much, with some room around, to move while the view moves.
    this.shot = { canvas: document.createElement("canvas"), stale: true };
    this.scene = new Scene(this.model, this.overlays, this.theme);
    this.panel = new Panel(this.model, get("panel"), this);
    this.search = new Search(this.model, get("search"), get("results"), this);
    this.outline = new Outline(this.model, get("outline"), this);
    this.number = 0;
    this.waiting = new Map();
    this.frames = [];
    this.startWorker(text);
    this.fill(data);
    this.listen();
  }

  fill(data) {
    get("title").textContent = data.title;
    get("facts").textContent = data.facts.join(", ");
    for (const [name, label] of Object.entries(this.overlays.kinds)) {
      const option = element("option", "", label);
      option.value = name;
      get("overlay").append(option);
    }
    for (const [keys, what] of KEYS) {
      get("keyList").append(element("dt", "", keys), element("dd", "", what));
    }
    if (data.run) {
      get("run").hidden = false;
      this.timeline = new Timeline(data.run, get("steps"), this.theme, (step) => this.atStep(step));
      get("whose").hidden = !data.run.bodies.length;
      for (const [i, r] of this.timeline.runs.entries()) {
        const option = element("option", "", r.title || "the whole run");
        option.value = i;
        get("plan").append(option);
      }
    }
    this.overlays.legend(get("legend"));
    this.panel.clear();
  }

  // -- the layout -----------------------------------------------------------------

  startWorker(text) {
    const source = JSON.parse(get("layout").textContent);
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    this.worker = new Worker(url);
    this.ready = new Promise((resolve, reject) => {
      this.worker.onmessage = ({ data }) => {
        if (data.ready) return resolve();
        const { settle, fail } = this.waiting.get(data.number) || {};
        this.waiting.delete(data.number);
        if (data.error) {
          console.error(data.error);
          (fail || reject)(new Error(data.error));
        } else if (settle) {
          this.layoutTime = data.ms;
          settle(data.found);
        }
      };
      this.worker.onerror = (e) => reject(new Error(e.message));
    });
    this.worker.postMessage({ text });
  }

  async ask(open) {
    await this.ready;
    const number = ++this.number;
    const wait = setTimeout(() => (get("busy").hidden = false), 150);
    try {
      const found = await new Promise((settle, fail) => {
        this.waiting.set(number, { settle, fail });
        this.worker.postMessage({ number, open: [...open] });
      });
      // A later question makes this answer stale.
      return number === this.number ? found : null;
    } finally {
      clearTimeout(wait);
      if (number === this.number) get("busy").hidden = true;
    }
  }

  // Show other open scopes; the box at ``anchor`` stays where it is on the screen.
  async show(open, anchor = -1) {
    const found = await this.ask(open);
    if (!found) return;
    const { scene, camera } = this;
    const before = new Map(scene.rect);
    const held = anchor >= 0 ? before.get(anchor) : null;
    this.open = open;
    scene.take(found, open);
    const now = scene.rect.get(anchor);
    let dx = 0, dy = 0;
    if (held && now) {
      // Its head stays: below it things make room.
      dx = now[0] + now[2] / 2 - (held[0] + held[2] / 2);
      dy = now[1] - held[1];
      camera.move = null;
      camera.x += dx;
      camera.y += dy;
    }
    if (before.size && !STILL.matches && found.boxes.length < 1500) {
      for (const r of before.values()) {
        r[0] += dx;
        r[1] += dy;
      }
      const start = (b, to) => {
        // What was hidden comes out of the scope that opened.
        for (const p of this.model.around(b)) {
          const r = before.get(p);
          if (r) return [r[0] + r[2] / 2 - to[2] / 4, r[1] + r[3] / 2, to[2] / 2, to[3] / 2];
        }
        return to;
      };
      scene.old = { rect: before, start, t: 0, begun: performance.now() };
    }
    scene.mark(scene.rect.has(scene.selected) ? scene.selected : -1);
    this.light();
    this.outline.render();
    this.redraw();
  }

  async toggle(box) {
    if (!this.model.opens(box)) return;
    const open = new Set(this.open);
    const opening = !open.has(box);
    if (opening) {
      open.add(box);
      // A scope with nothing but one scope is no stop on the way.
      let b = box;
      while (this.model.children[b].length === 1 && this.model.opens(this.model.children[b][0])) {
        b = this.model.children[b][0];
        open.add(b);
      }
    } else {
      open.delete(box);
    }
    this.scene.selected = box;
    await this.show(open, box);
    this.select(box);
    if (opening) this.lookInside(box);
    this.say(`${this.model.label[box]} ${opening ? "open" : "closed"}`);
  }

  // After opening: enough of the scope in sight.
  lookInside(box) {
    const r = this.scene.rect.get(box);
    if (!r) return;
    const { camera } = this;
    const [x, y] = camera.toScreen(r[0], r[1]);
    const right = x + r[2] * camera.scale, bottom = y + r[3] * camera.scale;
    if (x >= 0 && y >= 0 && right <= camera.width && bottom <= camera.height) return;
    const view = camera.viewOf(r, camera.scale);
    if (view.scale < 0.35) {
      // Too large to be read whole: its top.
      view.scale = Math.min(camera.scale, 0.8);
      view.x = r[0] + r[2] / 2 - camera.width / 2 / view.scale;
      view.y = r[1] - 40 / view.scale;
    }
    camera.go(view);
  }

  // Open one more level everywhere, within reason.
  more() {
    const open = new Set(this.open);
    let boxes = this.scene.order.length;
    for (const b of this.scene.order) {
      if (this.open.has(b) || !this.model.opens(b)) continue;
      if (boxes + this.model.children[b].length > MOST_OPEN) continue;
      boxes += this.model.children[b].length;
      open.add(b);
    }
    return this.show(open).then(() => this.fit(false, 0.2));
  }

  less() {
    return this.show(new Set([0])).then(() => this.fit());
  }

  // All of the sheet, or where it begins if that would be smaller than ``least``.
  fit(still = false, least = 0) {
    const { camera } = this;
    const [w, h] = this.scene.size;
    camera.below = get("legend").offsetHeight + 14;
    const view = camera.viewOf([0, 0, w, h]);
    if (view.scale < least) {
      view.scale = 2 * least;
      view.x = Math.min(0, w / 2 - camera.width / 2 / view.scale);
      view.y = -20 / view.scale;
    }
    camera.go(view, still);
  }

  // -- the selection --------------------------------------------------------------

  select(box, { reveal = false } = {}) {
    const { scene } = this;
    scene.mark(box);
    if (this.timeline) {
      if (box >= 0) this.memoryOf(this.timeline.runOf(box, this.model));
      this.timeline.step = -1;
      this.timeline.lives = box < 0 ? [] : this.timeline.livesOf(insideOf(this.model, box));
      this.timeline.draw();
    }
    scene.lit = new Set();
    if (box < 0) {
      this.panel.clear();
    } else {
      this.panel.show(box);
      this.say(this.words(box));
      if (reveal && scene.rect.has(box)) this.camera.reveal(scene.rect.get(box));
    }
    this.outline.choose(box);
    this.redraw();
  }

  // Show the memory of the whole run, or of a body.
  memoryOf(run) {
    const { timeline } = this;
    if (run === timeline.run) return;
    timeline.use(run);
    get("plan").value = timeline.runs.indexOf(run);
    this.light();
  }

  words(box) {
    const { model } = this;
    const state = model.opens(box) ? (this.open.has(box) ? ", open" : ", closed") : "";
    return `${model.label[box]}, ${model.subtitle(box)}${state}`;
  }

  // Open all that hides a box, select it and bring it into sight.
  async goTo(box) {
    const open = new Set(this.open);
    for (const b of this.model.around(box)) open.add(b);
    if (open.size !== this.open.size) await this.show(open);
    this.select(box, { reveal: true });
  }

  // A step of the run: what is alive lights up, where it is seen now.
  atStep(step) {
    const { scene, timeline } = this;
    scene.mark(-1);
    timeline.lives = [];
    if (step < 0) {
      this.panel.clear();
    } else {
      this.panel.step(step, timeline.aliveAt(step));
      const b = timeline.run.steps[step];
      this.say(timeline.canvas.getAttribute("aria-valuetext"));
      if (b >= 0) scene.hovered = this.model.seen(b, this.open);
    }
    this.light();
    this.redraw();
  }

  light() {
    const { timeline, scene } = this;
    scene.lit = new Set();
    if (!timeline || timeline.step < 0) return;
    for (const [b] of timeline.aliveAt(timeline.step)) {
      if (b >= 0) scene.lit.add(this.model.seen(b, this.open));
    }
  }

  overlay(name) {
    this.overlays.current = name;
    get("overlay").value = name;
    this.overlays.legend(get("legend"));
    this.redraw();
  }

  // -- drawing --------------------------------------------------------------------

  resize() {
    const { canvas, camera } = this;
    const ratio = devicePixelRatio || 1;
    camera.width = canvas.clientWidth;
    camera.height = canvas.clientHeight;
    canvas.width = Math.round(camera.width * ratio);
    canvas.height = Math.round(camera.height * ratio);
    if (this.timeline) this.timeline.draw();
    this.redraw();
  }

  // Something else is to be seen.
  redraw() {
    this.shot.stale = true;
    this.plan();
  }

  // The same is to be seen from elsewhere.
  moved() {
    this.lastMove = performance.now();
    this.plan();
  }

  plan() {
    if (this.planned) return;
    this.planned = true;
    requestAnimationFrame((now) => {
      this.planned = false;
      this.frame(now);
    });
  }

  frame(now) {
    const { scene, camera, shot } = this;
    const start = performance.now();
    const going = camera.step(now);
    if (going) this.lastMove = now;
    if (scene.old) {
      scene.old.t = Math.min(1, (now - scene.old.begun) / 240);
      if (scene.old.t >= 1) scene.old = null;
    }
    const moving = start - (this.lastMove || 0) < SETTLED;
    if (this.drawn > MUCH && moving && !shot.stale && this.covers()) {
      this.showShot();
      clearTimeout(this.settle);
      this.settle = setTimeout(() => this.redraw(), SETTLED);
    } else {
      this.paint(scene.order.length > MUCH && !scene.old);
    }
    this.frames.push(performance.now() - start);
    if (this.frames.length > 240) this.frames.shift();
    if (going || scene.old) {
      if (scene.old) this.redraw();
      else this.plan();
    }
  }

  // Draw everything in sight, and of much a picture that is larger than the view.
  paint(keep) {
    const { scene, camera, shot } = this;
    if (!keep) {
      this.drawn = scene.draw(this.context, camera);
      return;
    }
    const ratio = devicePixelRatio || 1;
    const margin = Math.round(camera.width / 6);
    const width = camera.width + 2 * margin, height = camera.height + 2 * margin;
    if (shot.width !== width || shot.height !== height || shot.ratio !== ratio) {
      shot.canvas.width = Math.round(width * ratio);
      shot.canvas.height = Math.round(height * ratio);
      Object.assign(shot, { width, height, ratio, context: shot.canvas.getContext("2d", { alpha: false }) });
    }
    const { scale } = camera;
    const view = { scale, width, height, x: camera.x - margin / scale, y: camera.y - margin / scale };
    this.drawn = scene.draw(shot.context, view);
    Object.assign(shot, { view, stale: false });
    this.showShot();
  }

  covers() {
    const { camera, shot } = this;
    const { view } = shot;
    const zoom = camera.scale / view.scale;
    if (zoom > 2.2 || zoom < 0.45) return false;
    const wide = camera.width / camera.scale, high = camera.height / camera.scale;
    if (zoom < 0.99) return true; // the rest follows when the view rests
    return camera.x >= view.x && camera.y >= view.y &&
      camera.x + wide <= view.x + view.width / view.scale &&
      camera.y + high <= view.y + view.height / view.scale;
  }

  showShot() {
    const { camera, shot, context } = this;
    const { view, ratio } = shot;
    const zoom = camera.scale / view.scale;
    context.setTransform(1, 0, 0, 1, 0, 0);
    if (zoom < 0.99) {
      context.fillStyle = this.theme.colours.back;
      context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    }
    const x = (view.x - camera.x) * camera.scale * ratio;
    const y = (view.y - camera.y) * camera.scale * ratio;
    const still = zoom > 0.999 && zoom < 1.001;
    context.drawImage(
      shot.canvas, still ? Math.round(x) : x, still ? Math.round(y) : y,
      shot.canvas.width * (still ? 1 : zoom), shot.canvas.height * (still ? 1 : zoom)
    );
  }

  say(text) {
    get("live").textContent = text.length > 300 ? text.slice(0, 299) + "…" : text;
  }

  focusGraph() {
    this.canvas.focus({ preventScroll: true });
  }

  // -- input ----------------------------------------------------------------------

  listen() {
    new ResizeObserver(() => this.resize()).observe(get("stage"));
    let last = { time: 0, box: -1 };
    steer(this.canvas, this.camera, {
      click: (x, y, e) => {
        this.focusGraph();
        const box = this.scene.hit(...this.camera.toSheet(x, y));
        const twice = e.timeStamp - last.time < 350 && box === last.box;
        last = { time: twice ? 0 : e.timeStamp, box };
        if (twice && box >= 0 && this.model.opens(box)) this.toggle(box);
        else this.select(box);
      },
      hover: (x, y) => this.hover(x, y),
      leave: () => this.hover(-1, -1),
    });
    this.canvas.addEventListener("keydown", (e) => this.key(e));
    document.addEventListener("keydown", (e) => {
      const busy = e.target.closest("input, select, dialog, [role=tree], #graph, #steps");
      if (!busy && !e.ctrlKey && !e.metaKey && !e.altKey) this.key(e, true);
    });
    get("overlay").addEventListener("change", (e) => this.overlay(e.target.value));
    get("plan").addEventListener("change", (e) => {
      this.select(-1);
      this.memoryOf(this.timeline.runs[e.target.value]);
      this.timeline.draw();
      this.redraw();
    });
    get("more").addEventListener("click", () => this.more());
    get("less").addEventListener("click", () => this.less());
    get("fit").addEventListener("click", () => this.fit());
    get("theme").addEventListener("click", () => this.theme.toggle());
    get("help").addEventListener("click", () => get("keys").showModal());
    get("listing").addEventListener("click", () => this.list());
    this.theme.changed = () => {
      this.overlays.legend(get("legend"));
      if (this.timeline) this.timeline.draw();
      this.redraw();
    };
  }

  list() {
    const nav = get("outline");
    nav.hidden = !nav.hidden;
    get("listing").setAttribute("aria-pressed", String(!nav.hidden));
    this.outline.render();
  }

  hover(x, y) {
    const box = x < 0 ? -1 : this.scene.hit(...this.camera.toSheet(x, y));
    const tip = get("tip");
    if (box !== this.scene.hovered) {
      this.scene.hovered = box;
      this.canvas.classList.toggle("pointing", box >= 0);
      tip.hidden = box < 0;
      if (box >= 0) tip.textContent = this.tip(box);
      this.redraw();
    }
    if (box >= 0) {
      const right = x > this.camera.width - 260, low = y > this.camera.height - 120;
      tip.style.left = right ? "" : `${x + 14}px`;
      tip.style.right = right ? `${this.camera.width - x + 10}px` : "";
      tip.style.top = low ? "" : `${y + 16}px`;
      tip.style.bottom = low ? `${this.camera.height - y + 10}px` : "";
    }
  }

  tip(box) {
    const { model } = this;
    const op = model.op[box];
    const name = op >= 0 ? model.data.ops.name[op] : this.panel.path(box);
    const lines = [name.length > 160 ? name.slice(0, 159) + "…" : name];
    if (op >= 0) {
      const { ops, types, specs, sources } = model.data;
      lines.push([types[ops.type[op]], ...ops.out[op].slice(0, 4).map((s) => specs[s])].join("  "));
      if (sources[ops.source[op]][0]) lines.push(sources[ops.source[op]][0]);
    } else {
      lines.push(count(model.total[box], "operation"));
    }
    return lines.join("\n");
  }

  key(e, outside = false) {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const { camera, scene } = this;
    const by = 80;
    const actions = {
      "+": () => camera.zoom(1.25), "=": () => camera.zoom(1.25), "-": () => camera.zoom(0.8),
      0: () => this.fit(), "/": () => get("search").focus(), "?": () => get("keys").showModal(),
      w: () => camera.pan(0, by), s: () => camera.pan(0, -by),
      a: () => camera.pan(by, 0), d: () => camera.pan(-by, 0),
      e: () => this.more(), E: () => this.less(), o: () => this.list(),
      t: () => this.theme.toggle(), c: () => this.nextOverlay(),
      f: () => scene.selected >= 0 && camera.fit(scene.rect.get(scene.selected)),
      p: () => this.timeline && this.timeline.choose(this.timeline.run.peak),
      Escape: () => (this.timeline && this.timeline.step >= 0 ? this.timeline.choose(-1) : this.select(-1)),
    };
    const onGraph = {
      Enter: () => this.toggle(scene.selected), " ": () => this.toggle(scene.selected),
      Backspace: () => this.model.parent[scene.selected] > 0 && this.select(this.model.parent[scene.selected], { reveal: true }),
      ArrowUp: () => this.along(true), ArrowDown: () => this.along(false),
      ArrowLeft: () => this.beside(-1), ArrowRight: () => this.beside(1),
    };
    const act = actions[e.key] || (outside ? null : onGraph[e.key]);
    if (!act) return;
    e.preventDefault();
    act();
  }

  nextOverlay() {
    const names = Object.keys(this.overlays.kinds);
    this.overlay(names[(names.indexOf(this.overlays.current) + 1) % names.length]);
    this.say(this.overlays.kinds[this.overlays.current]);
  }

  // Along a link, to the nearest box that is seen; from nothing, to the first box.
  along(up) {
    const { scene, model } = this;
    if (scene.selected < 0) return this.select(model.children[0][0] ?? -1, { reveal: true });
    const here = scene.rect.get(scene.selected);
    let best = -1, least = Infinity;
    for (const [b, way] of scene.neighbours) {
      if ((way === "in") !== up) continue;
      const r = scene.rect.get(b);
      const far = Math.abs(r[0] + r[2] / 2 - here[0] - here[2] / 2) + Math.abs(r[1] - here[1]);
      if (far < least) [best, least] = [b, far];
    }
    if (best >= 0) this.select(best, { reveal: true });
    else this.say(up ? "no input" : "no output");
  }

  // The next box of the same scope from left to right and top to bottom.
  beside(by) {
    const { scene, model } = this;
    const at = scene.selected;
    const all = at < 0 ? model.children[0] : model.children[model.parent[at]];
    const sorted = [...all].filter((b) => scene.rect.has(b)).sort((p, q) => {
      const a = scene.rect.get(p), b = scene.rect.get(q);
      return a[1] - b[1] || a[0] - b[0];
    });
    const next = sorted[Math.max(0, Math.min(sorted.length - 1, sorted.indexOf(at) + by))];
    if (next !== undefined && next !== at) this.select(next, { reveal: true });
  }
}

async function start() {
  const text = get("data").textContent;
  const app = new App(await readData(text), text);
  // For tests, and for whoever wants to script the page from its console.
  globalThis.explorer = app;
  app.resize();
  await app.show(new Set([0]));
  app.fit(true);
  document.documentElement.dataset.ready = "true";
}

start().catch((error) => {
  console.error(error);
  get("busy").textContent = `This graph cannot be shown here: ${error.message}`;
  get("busy").hidden = false;
});
