// The graph on a canvas: what is in sight, in as few strokes as there are styles.

// Of links of one box, so many are followed when it is selected.
const MOST_MARKED = 5000;

const FONT = 'Helvetica, Arial, "Liberation Sans", sans-serif';

class Scene {
  constructor(model, overlays, theme) {
    this.model = model;
    this.overlays = overlays;
    this.theme = theme;
    this.rect = new Map(); // box -> [x, y, w, h], where it is going
    this.old = null; // where boxes came from, while they move
    this.order = []; // boxes, parents first
    this.edges = [];
    this.open = new Set();
    this.selected = -1;
    this.hovered = -1;
    this.lit = new Set(); // boxes that are alive at a step
    this.marked = new Map(); // edges of the links of the selected box
    this.frames = []; // around boxes that one line leads to
    this.direct = []; // links of it that have no piece here
    this.fitted = new Map(); // texts cut to their boxes
  }

  take(found, open) {
    this.open = open;
    this.order = found.boxes;
    this.rect = new Map(found.boxes.map((b, i) => [b, found.rects.slice(4 * i, 4 * i + 4)]));
    this.edges = found.edges.map(withBounds);
    this.model.ports = new Map(found.ports);
    this.frames = found.frames;
    this.drawn = new Map();
    for (const e of this.edges) {
      const { a, b } = e.piece;
      // The line to a frame stands for one to each box in it.
      for (const m of e.members || [FRAME]) {
        const key = `${e.scope}|${a === FRAME ? m : a}>${b === FRAME ? m : b}`;
        this.drawn.set(key, e);
      }
    }
    this.size = [found.width, found.height];
  }

  // Where a box is now.
  at(box) {
    const to = this.rect.get(box);
    if (!this.old || !to) return to;
    const from = this.old.rect.get(box) || this.old.start(box, to);
    const t = ease(this.old.t);
    return to.map((v, i) => from[i] + (v - from[i]) * t);
  }

  draw(context, camera) {
    const { colours } = this.theme;
    const { scale } = camera;
    const ratio = devicePixelRatio || 1;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = colours.back;
    context.fillRect(0, 0, camera.width, camera.height);
    context.setTransform(
      ratio * scale, 0, 0, ratio * scale, -ratio * scale * camera.x, -ratio * scale * camera.y
    );
    const view = [
      camera.x, camera.y, camera.x + camera.width / scale, camera.y + camera.height / scale,
    ];
    const shown = [];
    for (const b of this.order) {
      const r = this.at(b);
      if (r[0] < view[2] && r[1] < view[3] && r[0] + r[2] > view[0] && r[1] + r[3] > view[1]) {
        shown.push([b, r]);
      }
    }
    this.scopes(context, shown, scale);
    if (!this.old) this.links(context, view, scale);
    this.boxes(context, shown, scale);
    if (!this.old) this.chosen(context, view, scale);
    this.heads(context, shown, scale);
    this.rings(context, scale);
    return shown.length;
  }

  // Open scopes, the outer ones first.
  scopes(context, shown, scale) {
    const { colours } = this.theme;
    const { model } = this;
    context.lineWidth = Math.max(1, 0.7 / scale);
    for (const [b, r] of shown) {
      if (!this.open.has(b) || !model.opens(b)) continue;
      const body = model.kind[b] === BODY || model.kind[b] === OP;
      context.fillStyle = colours.scopes[model.depth[b] % 2 ? 0 : 1];
      context.strokeStyle = body ? colours.bodyLine : colours.scopeLine;
      context.setLineDash(model.kind[b] === RUN ? [5, 4] : []);
      context.beginPath();
      context.roundRect(...r, 9);
      context.fill();
      context.stroke();
    }
    context.setLineDash([2, 3]);
    context.strokeStyle = colours.scopeLine;
    for (const r of this.frames) {
      context.beginPath();
      context.roundRect(...r, 9);
      context.stroke();
    }
    context.setLineDash([]);
  }

  // The names of open scopes, on their own ground so that no line crosses them.
  heads(context, shown, scale) {
    if (11 * scale < 4.5) return;
    const { colours } = this.theme;
    const { model } = this;
    context.textBaseline = "alphabetic";
    context.textAlign = "left";
    for (const [b, [x, y, w]] of shown) {
      if (!this.open.has(b) || !model.opens(b)) continue;
      const inside = count(model.total[b] - (model.op[b] >= 0 ? 1 : 0), "operation");
      context.font = `bold 11px ${FONT}`;
      const name = this.cut(context, "h" + b, model.label[b], w - 34);
      const long = context.measureText(name).width;
      const ground = colours.scopes[model.depth[b] % 2 ? 0 : 1];
      context.fillStyle = ground;
      context.fillRect(x + 8, y + 4, long + 16, 16);
      context.fillStyle = colours.muted;
      context.fillText("▾", x + 9, y + 16);
      context.fillStyle = colours.text;
      context.fillText(name, x + 22, y + 16);
      context.font = `10px ${FONT}`;
      context.fillStyle = ground;
      const room = w - long - 44;
      const wide = context.measureText(inside).width;
      if (wide < room) {
        context.fillRect(x + w - 14 - wide, y + 4, wide + 8, 16);
        context.fillStyle = colours.muted;
        context.textAlign = "right";
        context.fillText(inside, x + w - 10, y + 16);
        context.textAlign = "left";
      }
    }
  }

  // Edges by style, each style one path.
  links(context, view, scale) {
    const { colours } = this.theme;
    const styles = new Map();
    const faded = this.selected >= 0 && this.marked.size + this.direct.length > 0;
    for (const e of this.edges) {
      const [x0, y0, x1, y1] = e.bounds;
      if (x0 > view[2] || y0 > view[3] || x1 < view[0] || y1 < view[1]) continue;
      // Shorter than a box's gap at this scale: nothing would be seen of it.
      if ((x1 - x0 + y1 - y0) * scale < 5) continue;
      const { kind, bytes, links } = e.piece;
      const weight = kind === DATA ? widthOf(bytes) : 1;
      const key = `${kind}|${weight}`;
      if (!styles.has(key)) styles.set(key, { kind, weight, edges: [], links });
      styles.get(key).edges.push(e);
    }
    for (const { kind, weight, edges } of styles.values()) {
      context.strokeStyle = kind === KEPT ? colours.kept : colours.line;
      context.globalAlpha = (faded ? 0.45 : 0.9) * (kind === STATE ? 0.6 : 1);
      context.lineWidth = Math.max(weight, 0.6 / scale);
      context.setLineDash(kind === CONTROL ? [4, 4] : []);
      // Long paths are slow to stroke: some edges at a time.
      for (let i = 0; i < edges.length; i += 64) {
        context.beginPath();
        for (const e of edges.slice(i, i + 64)) trace(context, e, scale);
        context.stroke();
      }
      if (5 * scale > 1.6) {
        context.fillStyle = context.strokeStyle;
        context.beginPath();
        for (const e of edges) if (!isPort(e.piece.b)) arrow(context, e, weight);
        context.fill();
      }
    }
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  // Closed boxes by style, then their texts.
  boxes(context, shown, scale) {
    const { model, overlays } = this;
    const { colours } = this.theme;
    const styles = new Map();
    const texts = [];
    const dim = this.lit.size > 0;
    for (const [b, r] of shown) {
      if (this.open.has(b) && model.opens(b)) continue;
      const look = overlays.look(b);
      const lit = !dim || this.lit.has(b);
      const folded = model.opens(b);
      const part = overlays.parts[b];
      const dash = ["backward", "opaque"].includes(part) ? 1 : part === "initializer" ? 2 : 0;
      const key = `${look.fill}|${look.line}|${lit}|${folded}|${dash}`;
      if (!styles.has(key)) styles.set(key, { look, lit, folded, dash, rects: [] });
      styles.get(key).rects.push(r);
      texts.push([b, r, look, lit]);
    }
    const round = 36 * scale > 6 ? 6 : 0;
    if (!round) {
      // A few pixels each: plain rectangles, in the colour of their outline.
      for (const { look, lit, rects } of styles.values()) {
        context.globalAlpha = lit ? 1 : 0.22;
        context.fillStyle = look.text ? look.fill : look.line;
        for (const [x, y, w, h] of rects) context.fillRect(x, y, w, h);
      }
      context.globalAlpha = 1;
      return;
    }
    context.lineWidth = Math.max(1.2, 0.7 / scale);
    const path = (rects, dx) => {
      context.beginPath();
      for (const [x, y, w, h] of rects) {
        context.roundRect(x + dx, y + dx, w, h, round);
      }
    };
    for (const { look, lit, folded, dash, rects } of styles.values()) {
      context.globalAlpha = lit ? 1 : 0.22;
      context.fillStyle = look.fill;
      context.strokeStyle = look.line;
      context.setLineDash(dash ? [dash === 1 ? 4 : 1.5, 2.5] : []);
      if (folded) {
        // A second sheet behind: there is more inside.
        path(rects, 3);
        context.fill();
        context.stroke();
      }
      path(rects, 0);
      context.fill();
      context.stroke();
    }
    context.setLineDash([]);
    if (11 * scale >= 4.5) {
      context.textAlign = "center";
      context.textBaseline = "alphabetic";
      for (const [b, r, look, lit] of texts) {
        context.globalAlpha = lit ? 1 : 0.3;
        this.text(context, b, r, look, colours);
      }
    }
    context.globalAlpha = 1;
  }

  text(context, b, [x, y, w, h], look, colours) {
    const { model } = this;
    const below = look.said === null ? model.subtitle(b) : look.said;
    context.font = `bold 11px ${FONT}`;
    context.fillStyle = look.text || colours.text;
    const folded = model.opens(b) ? "▸ " : "";
    const name = this.cut(context, "n" + b, folded + model.label[b], w - 10);
    context.fillText(name, x + w / 2, y + (below && h > 30 ? 15 : h / 2 + 4));
    if (!below || h <= 30) return;
    context.font = `9.5px ${FONT}`;
    if (!look.text) context.fillStyle = colours.muted;
    context.fillText(this.cut(context, "s" + b + below, below, w - 10), x + w / 2, y + 28);
  }

  // A text that fits into a width, with dots in its middle where it was longer.
  cut(context, key, text, width) {
    const known = this.fitted.get(key);
    if (known !== undefined && known.width === width) return known.text;
    let fits = text.length > 200 ? text.slice(0, 100) + "…" + text.slice(-60) : text;
    if (context.measureText(fits).width > width) {
      let low = 0, high = fits.length;
      const made = (n) => fits.slice(0, Math.ceil(n * 0.6)) + "…" + fits.slice(fits.length - Math.floor(n * 0.4));
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (context.measureText(made(middle)).width <= width) low = middle;
        else high = middle - 1;
      }
      fits = made(low);
    }
    if (this.fitted.size > 20000) this.fitted.clear();
    this.fitted.set(key, { width, text: fits });
    return fits;
  }

  // The links of the selected box, over everything else.
  chosen(context, view, scale) {
    const { colours } = this.theme;
    const wide = Math.max(2.2, 1.6 / scale);
    for (const [e, way] of this.marked) {
      context.strokeStyle = context.fillStyle = way === "in" ? colours.into : colours.out;
      context.lineWidth = wide;
      context.beginPath();
      trace(context, e, scale);
      context.stroke();
      if (!isPort(e.piece.b)) {
        context.beginPath();
        arrow(context, e, wide);
        context.fill();
      }
    }
    for (const { from, to, way } of this.direct) {
      const a = this.rect.get(from), b = this.rect.get(to);
      if (!a || !b) continue;
      const e = { inner: [], sideways: true, ...sides(a, b) };
      context.strokeStyle = way === "in" ? colours.into : colours.out;
      context.lineWidth = wide * 0.7;
      context.setLineDash([2, 3]);
      context.beginPath();
      trace(context, e, scale);
      context.stroke();
      context.setLineDash([]);
    }
  }

  // Frames around the selected box, its neighbours, and the one under the pointer.
  rings(context, scale) {
    const { colours } = this.theme;
    const ring = (box, colour, width, gap) => {
      const r = this.at(box);
      if (!r) return;
      const [x, y, w, h] = r;
      context.strokeStyle = colour;
      context.lineWidth = width / Math.min(1, Math.max(scale, 0.05));
      context.beginPath();
      context.roundRect(x - gap, y - gap, w + 2 * gap, h + 2 * gap, 7 + gap);
      context.stroke();
    };
    for (const b of this.lit) if (this.rect.has(b)) ring(b, colours.lit, 2.5, 1);
    for (const [b, way] of this.neighbours || []) {
      ring(b, way === "in" ? colours.into : colours.out, 1.6, 1);
    }
    if (this.hovered >= 0 && this.hovered !== this.selected) ring(this.hovered, colours.ring, 1, 1);
    if (this.selected >= 0) ring(this.selected, colours.ring, 3, 2);
  }

  // The innermost box at a place of the sheet: -1 for none.
  hit(x, y) {
    let found = -1;
    for (const b of this.order) {
      const [bx, by, w, h] = this.rect.get(b);
      if (x >= bx && x <= bx + w && y >= by && y <= by + h) found = b;
    }
    return found;
  }

  // Mark what leads into and out of a box.
  mark(box) {
    const { model } = this;
    this.selected = box;
    this.marked = new Map();
    this.direct = [];
    this.neighbours = new Map();
    if (box < 0) return;
    const direct = new Map();
    for (const [way, mine, theirs] of [
      ["in", model.head, model.tail], ["out", model.tail, model.head],
    ]) {
      const last = model.last(box);
      // Of a scope with very many links the first ones have to do.
      for (const k of model.linksAt(box, mine).subarray(0, MOST_MARKED)) {
        if (theirs[k] >= box && theirs[k] <= last) continue;
        const other = model.seen(theirs[k], this.open);
        if (!this.rect.has(other)) continue;
        this.neighbours.set(other, way);
        if (this.markPieces(k, way)) continue;
        const [from, to] = way === "in" ? [other, box] : [box, other];
        direct.set(`${from}>${to}`, { from, to, way });
      }
    }
    this.direct = [...direct.values()].slice(0, 200);
  }

  // Mark what is drawn of a link; whether anything is.
  markPieces(link, way) {
    let any = false;
    this.model.cut(link, (scope, a, b) => {
      if (!this.model.ports.has(scope)) return;
      const key = `${scope}|${this.model.portOf(scope, a)}>${this.model.portOf(scope, b)}`;
      const edge = this.drawn.get(key);
      if (edge) {
        this.marked.set(edge, way);
        any = true;
      }
    });
    return any;
  }
}

// Whether a box lies in another: numbers of what a box holds follow its own.
function insideOf(model, box) {
  const last = model.last(box);
  return (b) => b >= box && b <= last;
}

function widthOf(bytes) {
  const width = 1 + 0.13 * Math.log2(1 + bytes / 256);
  return Math.min(3.2, Math.round(width * 2) / 2);
}

function withBounds(e) {
  const points = [e.first, ...e.inner, e.last];
  const reach = e.sideways ? 90 : 4;
  const xs = points.map((p) => p[0]), ys = points.map((p) => p[1]);
  e.bounds = [
    Math.min(...xs) - reach, Math.min(...ys) - reach,
    Math.max(...xs) + reach, Math.max(...ys) + reach,
  ];
  return e;
}

// The line of an edge: down through its bends, or from side to side.
function trace(context, e, scale) {
  const [x0, y0] = e.first, [x1, y1] = e.last;
  context.moveTo(x0, y0);
  if (e.sideways) {
    const bend = e.loop ? 70 : (x1 - x0) / 2;
    context.bezierCurveTo(x0 + bend, y0, e.loop ? x1 + bend : x1 - bend, y1, x1, y1);
    return;
  }
  if (scale < 0.15 && !e.inner.length) {
    context.lineTo(x1, y1);
    return;
  }
  let x = x0, y = y0;
  for (const [nx, ny] of e.inner) {
    context.bezierCurveTo(x, (y + ny) / 2, nx, (y + ny) / 2, nx, ny);
    x = nx;
    y = ny;
  }
  context.bezierCurveTo(x, (y + y1) / 2, x1, (y + y1) / 2, x1, y1);
}

function arrow(context, e, weight) {
  const [x, y] = e.last;
  const size = 4.5 + weight;
  if (e.sideways) {
    const back = e.loop || e.first[0] > x ? size : -size;
    context.moveTo(x, y);
    context.lineTo(x + back, y - size / 2);
    context.lineTo(x + back, y + size / 2);
  } else {
    const before = e.inner.length ? e.inner[e.inner.length - 1] : e.first;
    const back = before[1] > y ? size : -size;
    context.moveTo(x, y);
    context.lineTo(x - size / 2, y + back);
    context.lineTo(x + size / 2, y + back);
  }
  context.closePath();
}
