// The graph as boxes in boxes, and each link cut where it crosses their borders.
// Used by the page and by the layout worker.

const OP = 0, SCOPE = 1, RUN = 2, BODY = 3;
const DATA = 0, KEPT = 1, CONTROL = 2, STATE = 3;

// In one scope, more ways out (or in) than this are drawn as one.
const MOST_PORTS = 8;
// A box with more neighbours on one side than this shows them when it is selected.
const MOST_FAN = 16;

// A port of a scope is where links cross its border: to (or from) one box that
// stands beside the scope.  Ports are numbers below zero.
const MANY = 0x3fffffff;
const inPort = (other) => -2 * other - 2;
const outPort = (other) => -2 * other - 3;
const isPort = (end) => end < 0;
const isInPort = (end) => end < 0 && (-end) % 2 === 0;

class Model {
  constructor(data) {
    this.data = data;
    const boxes = data.boxes;
    this.count = boxes.parent.length;
    this.parent = Int32Array.from(boxes.parent);
    this.kind = Uint8Array.from(boxes.kind);
    this.op = Int32Array.from(boxes.op);
    this.label = boxes.label;
    this.depth = new Int32Array(this.count);
    this.children = Array.from({ length: this.count }, () => []);
    for (let b = 1; b < this.count; b++) {
      const p = this.parent[b];
      this.depth[b] = this.depth[p] + 1;
      this.children[p].push(b);
    }
    // How many operations lie in each box: children come after parents.
    this.total = new Int32Array(this.count);
    for (let b = this.count - 1; b >= 0; b--) {
      if (this.op[b] >= 0) this.total[b] += 1;
      if (b) this.total[this.parent[b]] += this.total[b];
    }
    const links = data.links;
    this.tail = Int32Array.from(links.tail);
    this.head = Int32Array.from(links.head);
    this.linkKind = Uint8Array.from(links.kind);
    this.linkBytes = links.bytes;
    this.linkOutput = links.output;
  }

  // The last box that a box holds: their numbers follow its own without a gap.
  last(box) {
    let last = box;
    while (this.children[last].length) last = this.children[last][this.children[last].length - 1];
    return last;
  }

  // The links into (or out of) a box and all that it holds, those within it too.
  linksAt(box, ends) {
    if (!this.sorted) this.sorted = new Map();
    if (!this.sorted.has(ends)) this.sorted.set(ends, byBox(ends, this.count));
    const { start, links } = this.sorted.get(ends);
    return links.subarray(start[box], start[this.last(box) + 1]);
  }

  opens(box) {
    return this.children[box].length > 0;
  }

  // The sizes of a box that is closed.
  size(box) {
    const op = this.op[box];
    const label = textWidth(this.label[box], 26) * 6.6;
    const below = textWidth(this.subtitle(box), 34) * 5.3;
    const width = Math.min(200, Math.max(56, Math.max(label, below) + 20));
    // In coarse steps: layers that differ in a digit of their names look alike.
    return [8 * Math.ceil(width / 8), op >= 0 || this.total[box] > 0 ? 36 : 24];
  }

  // The second line of a closed box.
  subtitle(box) {
    const op = this.op[box];
    const inside = this.total[box] - (op >= 0 ? 1 : 0);
    if (op < 0) return count(inside, "operation");
    const { ops, types, specs, parts } = this.data;
    const type = types[ops.type[op]];
    const own = this.label[box].split("/").pop();
    // What the colour says already, or the name, is not said again.
    const plain = ["input", "variable"].includes(parts[ops.part[op]]);
    const said = plain || own === type || own.startsWith(type + "_") ? "" : type + " ";
    if (inside) return said + `runs ${count(inside, "operation")}`;
    const outs = ops.out[op];
    if (!outs.length) return said || type;
    return said + specs[outs[0]] + (outs.length > 1 ? ` +${outs.length - 1}` : "");
  }

  // The box that holds both, and its children on the way to each.
  meet(a, b) {
    let x = a, y = b;
    while (this.depth[x] > this.depth[y]) {
      if (this.parent[x] === y) return null;
      x = this.parent[x];
    }
    while (this.depth[y] > this.depth[x]) {
      if (this.parent[y] === x) return null;
      y = this.parent[y];
    }
    if (x === y) return null;
    while (this.parent[x] !== this.parent[y]) {
      x = this.parent[x];
      y = this.parent[y];
    }
    return [this.parent[x], x, y];
  }

  // Call emit(scope, tail end, head end) for each piece of a link.  A link within
  // one box, or between a box and what it holds, has none.
  cut(link, emit) {
    const u = this.tail[link], v = this.head[link];
    const met = u === v ? null : this.meet(u, v);
    if (met === null) return;
    const [around, x, y] = met;
    emit(around, x, y);
    if (this.linkKind[link] !== DATA) return;
    for (let c = u, s = this.parent[u]; s !== around; c = s, s = this.parent[s]) {
      emit(s, c, outPort(y));
    }
    for (let c = v, s = this.parent[v]; s !== around; c = s, s = this.parent[s]) {
      emit(s, inPort(x), c);
    }
  }

  // Per scope: a Map from "tail>head" to what is drawn there.
  scopes() {
    if (this._scopes) return this._scopes;
    const found = (this._scopes = new Map());
    for (let k = 0; k < this.tail.length; k++) {
      const kind = this.linkKind[k];
      const bytes = Math.max(0, this.linkBytes[k]);
      this.cut(k, (scope, a, b) => {
        let pieces = found.get(scope);
        if (!pieces) found.set(scope, (pieces = new Map()));
        const key = a + ">" + b;
        const piece = pieces.get(key);
        if (piece) {
          piece.links += 1;
          piece.bytes += bytes;
          piece.kind = Math.min(piece.kind, kind);
        } else {
          pieces.set(key, { a, b, kind, links: 1, bytes, quiet: false });
        }
      });
    }
    for (const [scope, pieces] of found) found.set(scope, settle(pieces));
    return found;
  }

  pieces(scope) {
    return this.scopes().get(scope) || new Map();
  }

  // All boxes around one, the nearest first.
  around(box) {
    const found = [];
    for (let b = this.parent[box]; b >= 0; b = this.parent[b]) found.push(b);
    return found;
  }

  // The box that is seen for this one while some are closed.
  seen(box, open) {
    let shown = box;
    for (let b = this.parent[box]; b >= 0; b = this.parent[b]) {
      if (!open.has(b)) shown = b;
    }
    return shown;
  }

  // Where a piece ends once many ports of a side are one.
  portOf(scope, end) {
    if (!isPort(end)) return end;
    // The page is told by the worker, which has cut all links.
    const { manyIn, manyOut } = this.ports ? this.ports.get(scope) : this.pieces(scope);
    if (isInPort(end)) return manyIn ? inPort(MANY) : end;
    return manyOut ? outPort(MANY) : end;
  }
}

// Merge the ports of a side that has too many, and hush boxes with too many links.
function settle(pieces) {
  const ins = new Set(), outs = new Set();
  for (const p of pieces.values()) {
    if (isPort(p.a)) ins.add(p.a);
    if (isPort(p.b)) outs.add(p.b);
  }
  const manyIn = ins.size > MOST_PORTS, manyOut = outs.size > MOST_PORTS;
  let result = pieces;
  if (manyIn || manyOut) {
    result = new Map();
    for (const p of pieces.values()) {
      if (manyIn && isPort(p.a)) p.a = inPort(MANY);
      if (manyOut && isPort(p.b)) p.b = outPort(MANY);
      const key = p.a + ">" + p.b;
      const known = result.get(key);
      if (known) {
        known.links += p.links;
        known.bytes += p.bytes;
      } else {
        result.set(key, p);
      }
    }
  }
  result.manyIn = manyIn;
  result.manyOut = manyOut;
  const leaving = new Map(), entering = new Map();
  for (const p of result.values()) {
    if (p.kind === DATA || p.kind === CONTROL) {
      leaving.set(p.a, (leaving.get(p.a) || 0) + 1);
      entering.set(p.b, (entering.get(p.b) || 0) + 1);
    }
  }
  const loud = new Set();
  for (const p of result.values()) {
    const fan = leaving.get(p.a) > MOST_FAN || entering.get(p.b) > MOST_FAN;
    p.quiet = p.kind === STATE || (fan && p.kind !== KEPT);
    if (!p.quiet && p.kind === DATA) loud.add(p.a).add(p.b);
  }
  // A variable that only updates touch stands by the first of them.
  for (const p of result.values()) {
    if (p.kind === STATE && !loud.has(p.a)) {
      p.quiet = false;
      loud.add(p.a);
    }
  }
  return result;
}

// The numbers of links in the order of their boxes, and where each box's begin.
function byBox(ends, count) {
  const start = new Int32Array(count + 1);
  for (const b of ends) start[b + 1] += 1;
  for (let b = 0; b < count; b++) start[b + 1] += start[b];
  const place = start.slice();
  const links = new Int32Array(ends.length);
  ends.forEach((b, k) => (links[place[b]++] = k));
  return { start, links };
}

function count(n, noun) {
  return `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
}

// About how wide a text is, in letters, up to a limit.
function textWidth(text, limit) {
  let width = 0;
  for (const letter of text) {
    width += letter.codePointAt(0) > 0x2e7f ? 1.8 : 1;
    if (width >= limit) return limit;
  }
  return width;
}

// What the page embeds: JSON, or base64 of deflated JSON.
async function readData(text) {
  const trimmed = text.trim();
  if (trimmed.startsWith("{")) return JSON.parse(trimmed);
  const raw = Uint8Array.from(atob(trimmed), (c) => c.charCodeAt(0));
  const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}
