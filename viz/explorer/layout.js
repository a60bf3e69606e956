// Where everything stands: each open scope is laid out for itself, from the inside
// out, so opening one scope moves the rest only as far as it has to.  Within a scope
// the layout library (dagre) gives layers, order and coordinates; its order does not
// depend on sizes, so what is left of what stays so.

const HEAD = 24; // the name of an open scope
const PAD = 14;
const GAP = 26; // between parts of a scope that nothing links
const PORT = 4;
const FRAME_PAD = 10;
const FRAME = 0x3ffffffe; // stands for a frame where a piece names a box
// How short edges should be.  Whole numbers: with fractions the library's simplex
// method can go round for ever.
const WEIGHT = { border: 40, data: 20, faint: 10, hold: 1 };
const MOST_LOOSE = 8; // boxes with links to ports alone before they get a frame
const MOST_KEPT = 12; // curves for values that the gradient keeps, in one scope

class Layout {
  constructor(model, dagre) {
    this.model = model;
    this.dagre = dagre;
    this.cache = new Map(); // by scope: its last layout
    this.shapes = new Map(); // by what a scope is built like
  }

  // Positions of all that is seen while the scopes in ``open`` are open.
  arrange(open) {
    const inside = this.scopesInside(open);
    const placed = new Map();
    for (let i = inside.length - 1; i >= 0; i--) {
      const scope = inside[i];
      placed.set(scope, this.scope(scope, placed));
    }
    return this.absolute(inside, placed);
  }

  // Open scopes that are seen, parents first.
  scopesInside(open) {
    const found = [0];
    for (let i = 0; i < found.length; i++) {
      for (const c of this.model.children[found[i]]) {
        if (open.has(c) && this.model.opens(c)) found.push(c);
      }
    }
    return found;
  }

  // One scope, its children closed or as large as they were found to be.
  scope(scope, placed) {
    const sizes = new Map();
    let key = "";
    for (const c of this.model.children[scope]) {
      const inner = placed.get(c);
      sizes.set(c, inner ? [inner.width, inner.height] : this.model.size(c));
      if (inner) key += `${c}:${inner.width}x${inner.height};`;
    }
    const known = this.cache.get(scope);
    if (known && known.key === key) return known;
    const made = this.place(scope, sizes);
    made.key = key;
    this.cache.set(scope, made);
    return made;
  }

  place(scope, sizes) {
    const children = this.model.children[scope];
    const drawn = [], fans = [];
    const between = []; // seen, but without a say in the layout
    for (const p of this.model.pieces(scope).values()) {
      if (p.quiet && p.kind !== STATE) fans.push(p);
      else if (p.kind === KEPT) between.push(p);
      else if (!p.quiet) drawn.push(p);
    }
    if (between.length > MOST_KEPT) between.length = 0;
    const least = textWidth(this.model.label[scope] || "", 40) * 6.6 + 40;
    const local = localEnds(children, [...drawn, ...fans]);
    const toLocal = (p) => ({ a: local.get(p.a), b: local.get(p.b), kind: p.kind });
    const pieces = drawn.map(toLocal), bundles = fans.map(toLocal);
    const head = scope ? [HEAD + PAD / 2, least] : [PAD, 0];
    const shape = children.map((c) => sizes.get(c));
    const rows = this.rows(children, pieces, bundles, head);
    const found = this.shape(shape, pieces, bundles, head, rows);
    // From local numbers back to those of boxes and ports.
    const back = new Map([...local].map(([end, place]) => [place, end]));
    const ports = new Map([...found.ports].map(([place, x]) => [back.get(place), x]));
    const boxes = new Map(children.map((c, i) => [c, found.boxes.get(i)]));
    const edges = drawn.map((piece, i) => ({ piece, points: found.edges[i] }));
    const frames = found.frames.map(({ rect, members }) => ({
      rect, members: members.map((m) => back.get(m)),
    }));
    const bundled = found.bundled.map(({ piece, points }) => {
      const own = { ...piece, a: back.get(piece.a) ?? FRAME, b: back.get(piece.b) ?? FRAME };
      return { piece: own, points, frame: frames[piece.frame] };
    });
    const single = found.single.map(([fan, points]) => ({ piece: fans[fan], points }));
    return {
      boxes, ports, between, frames,
      edges: [...edges.filter((edge) => edge.points), ...single, ...bundled],
      width: found.width, height: found.height,
    };
  }

  // What stands in which row is found with everything closed, so that nothing changes
  // rows when something opens; null where all stands in one row.
  rows(children, pieces, bundles, head) {
    const closed = children.map((c) => this.model.size(c));
    const { parts, alone } = framedParts(closed, pieces, bundles);
    if (oneRow(parts, alone)) return null;
    return this.shape(closed, pieces, bundles, head, null).rows;
  }

  // Boxes of given sizes and pieces between them.  What is built alike looks alike,
  // and is laid out once.
  shape(sizes, pieces, fans, [top, least], rows) {
    const ends = (p) => [p.a, p.b, p.kind];
    const key = JSON.stringify([sizes, pieces.map(ends), fans.map(ends), top, least]);
    const known = this.shapes.get(key);
    if (known) return known;
    const { whole, parts, alone } = framedParts(sizes, pieces, fans);
    const blocks = parts.map((part) => this.block(part, whole.sizes));
    if (alone.length) blocks.push(grid(alone, whole.sizes));
    const result = pack(blocks, whole.pieces.length, rows, oneRow(parts, alone));
    const width = Math.max(result.width, least) + 2 * PAD;
    const left = (width - result.width) / 2;
    for (const at of result.boxes.values()) {
      at[0] += left;
      at[1] += top;
    }
    for (const points of result.edges) {
      for (const p of points || []) {
        p[0] += left;
        p[1] += top;
      }
    }
    for (const [port, x] of result.ports) result.ports.set(port, x + left);
    result.width = Math.round(width);
    result.height = Math.round(result.height + top + PAD);
    unframe(result, whole, pieces.length);
    this.shapes.set(key, result);
    return result;
  }

  // What hangs together, by the layout library.
  block(part, sizes) {
    const g = new this.dagre.graphlib.Graph({ multigraph: true });
    g.setGraph({ rankdir: "TB", nodesep: 20, ranksep: 30, edgesep: 10 });
    g.setDefaultEdgeLabel(() => ({}));
    let ins = 0, outs = 0;
    for (const end of part.ends) {
      if (isPort(end)) {
        g.setNode(String(end), { width: PORT, height: 1 });
        if (isInPort(end)) ins++;
        else outs++;
      } else {
        const [width, height] = sizes[end];
        g.setNode(String(end), { width, height });
      }
    }
    for (const p of part.pieces) {
      const ported = isPort(p.a) || isPort(p.b);
      const weight = p.kind === DATA && !ported ? WEIGHT.data : WEIGHT.faint;
      g.setEdge(String(p.a), String(p.b), { weight, minlen: 1 }, "e");
    }
    this.holdPorts(g, part, ins, outs);
    this.dagre.layout(g);
    return readBlock(g, part);
  }

  // Ports on the border: above all boxes, or below them.
  holdPorts(g, part, ins, outs) {
    const tails = new Set(part.pieces.map((p) => p.a));
    const heads = new Set(part.pieces.map((p) => p.b));
    if (ins) g.setNode("top", { width: 1, height: 1 });
    if (outs) g.setNode("bottom", { width: 1, height: 1 });
    for (const end of part.ends) {
      const name = String(end);
      if (isPort(end)) {
        if (isInPort(end)) g.setEdge("top", name, { weight: WEIGHT.border, minlen: 1 }, "t");
        else g.setEdge(name, "bottom", { weight: WEIGHT.border, minlen: 1 }, "t");
      } else {
        if (ins && !heads.has(end)) g.setEdge("top", name, { weight: WEIGHT.hold, minlen: 2 }, "t");
        if (outs && !tails.has(end)) g.setEdge(name, "bottom", { weight: WEIGHT.hold, minlen: 2 }, "t");
      }
    }
  }

  // Positions on the sheet, and edges with their ends on borders.
  absolute(scopes, placed) {
    const origin = new Map([[0, [0, 0]]]);
    const boxes = [], rects = [], edges = [];
    const sheet = placed.get(0);
    const rectOf = new Map();
    for (const scope of scopes) {
      const [ox, oy] = origin.get(scope);
      for (const [c, [x, y, w, h]] of placed.get(scope).boxes) {
        boxes.push(c);
        rects.push(ox + x, oy + y, w, h);
        rectOf.set(c, [ox + x, oy + y, w, h]);
        if (placed.has(c)) origin.set(c, [ox + x, oy + y]);
      }
    }
    const frames = [];
    for (const scope of scopes) {
      this.edgesOf(scope, placed, origin, rectOf, edges);
      const [ox, oy] = origin.get(scope);
      for (const { rect: [x, y, w, h] } of placed.get(scope).frames) {
        frames.push([ox + x, oy + y, w, h]);
      }
    }
    const ports = scopes.map((scope) => {
      const { manyIn, manyOut } = this.model.pieces(scope);
      return [scope, { manyIn, manyOut }];
    });
    return { boxes, rects, edges, frames, ports, width: sheet.width, height: sheet.height };
  }

  edgesOf(scope, placed, origin, rectOf, edges) {
    const { edges: own, between, ports, height } = placed.get(scope);
    const [ox, oy] = origin.get(scope);
    const ends = [];
    for (const { piece, points, frame } of own) {
      const inner = points.map(([x, y]) => [x + ox, y + oy]);
      const edge = { scope, piece, inner, first: null, last: null };
      const { a, b } = piece;
      if (frame) edge.members = frame.members;
      if (a === FRAME) edge.first = middle(frame.rect, ox, oy, true);
      else if (isPort(a)) edge.first = [ports.get(a) + ox, oy];
      else ends.push({ edge, box: a, out: true, other: b, up: false });
      if (b === FRAME) edge.last = middle(frame.rect, ox, oy, false);
      else if (isPort(b)) edge.last = [ports.get(b) + ox, oy + height];
      else ends.push({ edge, box: b, out: false, other: a, up: false });
      // In a cycle of scopes some edge leads up, from the top of its tail.
      const from = rectOf.get(a), to = rectOf.get(b);
      if (from && to && to[1] + to[3] <= from[1]) {
        for (const end of ends.slice(-2)) end.up = true;
      }
      edges.push(edge);
    }
    this.attach(ends, placed, origin, rectOf);
    for (const piece of between) {
      const a = rectOf.get(piece.a), b = rectOf.get(piece.b);
      edges.push({ scope, piece, inner: [], ...sides(a, b), sideways: true });
    }
  }

  // Where edges touch boxes: at the port of an open scope, else side by side.
  attach(ends, placed, origin, rectOf) {
    const groups = new Map();
    for (const end of ends) {
      const inner = placed.get(end.box);
      if (inner && end.edge.piece.kind === DATA && !end.up) {
        // Toward a port of the scope around, the port inside has the same number.
        const beside = end.out ? outPort(end.other) : inPort(end.other);
        const port = this.model.portOf(end.box, isPort(end.other) ? end.other : beside);
        const x = inner.ports.get(port);
        if (x !== undefined) {
          const [bx, by] = origin.get(end.box);
          this.touch(end, bx + x, end.out ? by + inner.height : by);
          continue;
        }
      }
      const key = `${end.box}${end.out !== end.up ? "o" : "i"}`;
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(end);
    }
    for (const group of groups.values()) {
      const [x, y, w, h] = rectOf.get(group[0].box);
      const toward = (end) => {
        const points = end.edge.inner;
        if (points.length) return end.out ? points[0][0] : points[points.length - 1][0];
        const there = end.out ? end.edge.last : end.edge.first;
        const r = rectOf.get(end.other);
        return there ? there[0] : r ? r[0] + r[2] / 2 : x + w / 2;
      };
      group.sort((p, q) => toward(p) - toward(q));
      const room = Math.min(w * 0.6, 26 * (group.length - 1));
      group.forEach((end, i) => {
        const part = group.length > 1 ? i / (group.length - 1) - 0.5 : 0;
        this.touch(end, x + w / 2 + part * room, end.out !== end.up ? y + h : y);
      });
    }
  }

  touch(end, x, y) {
    if (end.out) end.edge.first = [x, y];
    else end.edge.last = [x, y];
  }
}

// What the library found, moved so that its boxes and bends begin at zero.
function readBlock(g, part) {
  const boxes = new Map(), ports = new Map(), edges = [];
  let left = Infinity, right = -Infinity, top = Infinity, bottom = -Infinity;
  const grow = (x0, x1, y0, y1) => {
    left = Math.min(left, x0);
    right = Math.max(right, x1);
    top = Math.min(top, y0);
    bottom = Math.max(bottom, y1);
  };
  for (const end of part.ends) {
    const { x, y, width, height } = g.node(String(end));
    if (isPort(end)) {
      ports.set(end, x);
      grow(x - 6, x + 6, y, y);
    } else {
      boxes.set(end, [x - width / 2, y - height / 2, width, height]);
      grow(x - width / 2, x + width / 2, y - height / 2, y + height / 2);
    }
  }
  for (const piece of part.pieces) {
    const { points } = g.edge(String(piece.a), String(piece.b), "e");
    const inner = points.slice(1, -1).map((p) => [p.x, p.y]);
    // A bend halfway between neighbouring layers says nothing.
    edges.push([piece.at, inner.length === 1 ? [] : inner]);
    for (const [x, y] of inner) grow(x, x, y, y);
  }
  for (const at of boxes.values()) {
    at[0] -= left;
    at[1] -= top;
  }
  for (const [port, x] of ports) ports.set(port, x - left);
  for (const [, points] of edges) {
    for (const p of points) {
      p[0] -= left;
      p[1] -= top;
    }
  }
  return { boxes, ports, edges, width: right - left, height: bottom - top };
}

// Numbers within a scope: its children in order, and its ports in order of mention.
function localEnds(children, pieces) {
  const local = new Map(children.map((c, i) => [c, i]));
  let ports = 0;
  for (const p of pieces) {
    for (const end of [p.a, p.b]) {
      if (local.has(end)) continue;
      local.set(end, isInPort(end) ? inPort(ports) : outPort(ports));
      ports += 1;
    }
  }
  return local;
}

// Boxes with nothing but bundled links, or links to ports, in frames of those that
// have the same: one line leads to a frame, where each would lead to a box.
function framed(sizes, pieces, fans) {
  const busy = new Set(); // boxes with a link to another box
  for (const p of pieces) {
    if (!isPort(p.a) && !isPort(p.b)) busy.add(p.a).add(p.b);
  }
  // What is at the other end of a bundle has a place of its own.
  const degree = new Map();
  for (const p of fans) {
    for (const end of [p.a, p.b]) degree.set(end, (degree.get(end) || 0) + 1);
  }
  const hub = (end) => degree.get(end) > MOST_LOOSE;
  const lone = sizes.map((_, c) => c).filter((c) => !busy.has(c) && !hub(c));
  const many = lone.length > MOST_LOOSE;
  const bundles = [...fans, ...(many ? pieces : [])];
  const marks = new Map(lone.map((c) => [c, []]));
  for (const p of bundles) {
    if (marks.has(p.b) && !marks.has(p.a)) marks.get(p.b).push(`${p.a}>`);
    if (marks.has(p.a) && !marks.has(p.b)) marks.get(p.a).push(`>${p.b}`);
  }
  const groups = new Map();
  for (const [c, ways] of marks) {
    if (!ways.length) continue;
    const key = ways.sort().join(" ");
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(c);
  }
  const found = { sizes: [...sizes], frames: [], inside: new Set() };
  const kept = pieces.map((p, index) => ({ ...p, index }));
  for (const [key, members] of groups) {
    if (members.length < 3) continue;
    const frame = found.frames.length, end = found.sizes.length;
    const inner = grid(members, sizes);
    found.frames.push({ members, inner, end });
    found.sizes.push([inner.width + 2 * FRAME_PAD, inner.height + 2 * FRAME_PAD]);
    for (const m of members) found.inside.add(m);
    for (const way of key.split(" ")) {
      const [a, b] = way.split(">").map((v) => (v === "" ? end : Number(v)));
      kept.push({ a, b, kind: DATA, links: members.length, bytes: 0, frame });
    }
  }
  found.pieces = kept.filter((p) => !found.inside.has(p.a) && !found.inside.has(p.b));
  // Links that need no bundle after all: a box or two at a hub.
  fans.forEach((p, fan) => {
    const alone = (end) => marks.has(end) && !found.inside.has(end);
    if (found.inside.has(p.a) || found.inside.has(p.b)) return;
    if (alone(p.a) || alone(p.b)) found.pieces.push({ ...p, fan });
  });
  found.ends = found.sizes.map((_, c) => c).filter((c) => !found.inside.has(c));
  return found;
}

// Put what is in frames at its place, and apart what leads to frames.
function unframe(result, whole, count) {
  result.frames = whole.frames.map(({ members, inner, end }) => {
    const rect = result.boxes.get(end);
    result.boxes.delete(end);
    for (const [m, [x, y, w, h]] of inner.boxes) {
      result.boxes.set(m, [rect[0] + FRAME_PAD + x, rect[1] + FRAME_PAD + y, w, h]);
    }
    return { rect, members };
  });
  const points = result.edges;
  result.edges = Array(count).fill(null);
  result.bundled = [];
  result.single = [];
  whole.pieces.forEach((piece, i) => {
    if (piece.frame !== undefined) result.bundled.push({ piece, points: points[i] });
    else if (piece.fan !== undefined) result.single.push([piece.fan, points[i]]);
    else result.edges[piece.index] = points[i];
  });
}

// What hangs together by pieces, in order of the first box, and boxes by themselves.
function components(ends, pieces) {
  const root = new Map(ends.map((end) => [end, end]));
  const find = (end) => {
    let r = end;
    while (root.get(r) !== r) r = root.get(r);
    return r;
  };
  pieces.forEach((p, at) => {
    p.at = at;
    for (const end of [p.a, p.b]) if (!root.has(end)) root.set(end, end);
    const a = find(p.a), b = find(p.b);
    for (const end of [a, b, p.a, p.b]) root.set(end, Math.min(a, b));
  });
  const parts = new Map();
  for (const end of root.keys()) {
    const r = find(end);
    if (!parts.has(r)) parts.set(r, { ends: [], pieces: [] });
    parts.get(r).ends.push(end);
  }
  for (const p of pieces) parts.get(find(p.a)).pieces.push(p);
  const found = [], alone = [];
  for (const part of parts.values()) {
    if (part.pieces.length) found.push(part);
    else alone.push(...part.ends);
  }
  return { parts: found, alone };
}

// Boxes that nothing links, in rows.
function grid(children, sizes) {
  let area = 0, widest = 0;
  for (const c of children) {
    const [w, h] = sizes[c];
    area += (w + 12) * (h + 12);
    widest = Math.max(widest, w);
  }
  const most = Math.max(widest, Math.sqrt(area * 2.2));
  const boxes = new Map();
  let x = 0, y = 0, row = 0, width = 0;
  for (const c of children) {
    const [w, h] = sizes[c];
    if (x && x + w > most) {
      x = 0;
      y += row + 12;
      row = 0;
    }
    boxes.set(c, [x, y, w, h]);
    x += w + 12;
    row = Math.max(row, h);
    width = Math.max(width, x - 12);
  }
  return { boxes, ports: new Map(), edges: [], width, height: y + row };
}

function framedParts(sizes, pieces, fans) {
  const whole = framed(sizes, pieces, fans);
  return { whole, ...components(whole.ends, whole.pieces) };
}

// A few parts stand side by side; so do all where lines lead to the border.
function oneRow(parts, alone) {
  const few = parts.length + (alone.length ? 1 : 0) < 5;
  return few || parts.some((part) => part.ends.some(isPort));
}

// Blocks side by side, in given rows or in rows of about the same width.
function pack(blocks, pieces, rows, flat) {
  const whole = { boxes: new Map(), ports: new Map(), width: 0, height: 0 };
  whole.edges = Array(pieces).fill(null);
  let area = 0, widest = 0;
  for (const b of blocks) {
    area += (b.width + GAP) * (b.height + GAP);
    widest = Math.max(widest, b.width);
  }
  const most = flat ? Infinity : Math.max(widest, Math.sqrt(area * 2));
  let x = 0, y = 0, row = 0;
  whole.rows = [];
  blocks.forEach((b, i) => {
    if (rows ? rows[i] !== whole.rows[i - 1] && i : x && x + b.width > most) {
      x = 0;
      y += row + GAP;
      row = 0;
    }
    whole.rows.push(x ? whole.rows[i - 1] : i);
    for (const [c, [bx, by, w, h]] of b.boxes) whole.boxes.set(c, [bx + x, by + y, w, h]);
    for (const [port, px] of b.ports) whole.ports.set(port, px + x);
    for (const [piece, points] of b.edges) {
      whole.edges[piece] = points.map(([px, py]) => [px + x, py + y]);
    }
    x += b.width + GAP;
    row = Math.max(row, b.height);
    whole.width = Math.max(whole.width, x - GAP);
  });
  whole.height = y + row;
  return whole;
}

// Where a line leaves a frame, or comes to it.
function middle([x, y, w, h], ox, oy, below) {
  return [ox + x + w / 2, oy + y + (below ? h : 0)];
}

// The ends of an edge that runs across the layers.
function sides(a, b) {
  const [ax, ay, aw, ah] = a, [bx, by, bw, bh] = b;
  const ya = ay + Math.min(ah / 2, 18), yb = by + Math.min(bh / 2, 18);
  if (ax + aw < bx) return { first: [ax + aw, ya], last: [bx, yb] };
  if (bx + bw < ax) return { first: [ax, ya], last: [bx + bw, yb] };
  return { first: [ax + aw, ya], last: [bx + bw, yb], loop: true };
}
