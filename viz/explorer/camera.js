// What part of the sheet is seen: pan, zoom, and smooth ways from one view to another.

const STILL = matchMedia("(prefers-reduced-motion: reduce)");
const LEAST_SCALE = 0.002, MOST_SCALE = 4;

class Camera {
  constructor(canvas, redraw) {
    this.canvas = canvas;
    this.redraw = redraw;
    this.x = 0;
    this.y = 0;
    this.scale = 1;
    this.width = 1;
    this.height = 1;
    this.below = 0; // what the legend covers
    this.move = null;
  }

  // From the sheet to the screen and back.
  toScreen(x, y) {
    return [(x - this.x) * this.scale, (y - this.y) * this.scale];
  }

  toSheet(x, y) {
    return [x / this.scale + this.x, y / this.scale + this.y];
  }

  pan(dx, dy) {
    this.move = null;
    this.x -= dx / this.scale;
    this.y -= dy / this.scale;
    this.redraw();
  }

  zoom(factor, sx = this.width / 2, sy = this.height / 2) {
    this.move = null;
    const [x, y] = this.toSheet(sx, sy);
    this.scale = Math.min(MOST_SCALE, Math.max(LEAST_SCALE, this.scale * factor));
    this.x = x - sx / this.scale;
    this.y = y - sy / this.scale;
    this.redraw();
  }

  // The view that shows a rectangle whole, at most at its own size.
  viewOf([x, y, w, h], most = 1.25) {
    const margin = 20;
    const height = this.height - this.below;
    const scale = Math.max(LEAST_SCALE, Math.min(
      most, (this.width - 2 * margin) / w, (height - 2 * margin) / h
    ));
    return {
      scale,
      x: x + w / 2 - this.width / 2 / scale,
      y: y + h / 2 - height / 2 / scale,
    };
  }

  fit(rect) {
    this.go(this.viewOf(rect));
  }

  // Bring a rectangle into sight, near enough to be read.
  reveal(rect) {
    const [x, y, w, h] = rect;
    const [x0, y0] = this.toScreen(x, y);
    const [x1, y1] = this.toScreen(x + w, y + h);
    const seen = x0 > 20 && y0 > 20 && x1 < this.width - 20 && y1 < this.height - 20;
    if (seen && this.scale > 0.5) return;
    const scale = Math.max(this.scale, Math.min(1, this.viewOf(rect).scale));
    this.go({
      scale,
      x: x + w / 2 - this.width / 2 / scale,
      y: y + h / 2 - this.height / 2 / scale,
    });
  }

  go(view, still = false) {
    if (still || STILL.matches) {
      Object.assign(this, view);
      this.move = null;
    } else {
      const { x, y, scale } = this;
      this.move = { from: { x, y, scale }, to: view, start: performance.now(), ms: 260 };
    }
    this.redraw();
  }

  // One step on the way; whether there is more of it.
  step(now) {
    if (!this.move) return false;
    const { from, to, start, ms } = this.move;
    const t = ease(Math.min(1, (now - start) / ms));
    const scale = from.scale * (to.scale / from.scale) ** t;
    // The middle of the view moves evenly, whatever the scale does.
    const middle = (v, size) => v + size / 2;
    const fx = middle(from.x, this.width / from.scale), tx = middle(to.x, this.width / to.scale);
    const fy = middle(from.y, this.height / from.scale), ty = middle(to.y, this.height / to.scale);
    this.scale = scale;
    this.x = fx + (tx - fx) * t - this.width / 2 / scale;
    this.y = fy + (ty - fy) * t - this.height / 2 / scale;
    if (now - start >= ms) this.move = null;
    return true;
  }
}

function ease(t) {
  return t < 0.5 ? 2 * t * t : 1 - 2 * (1 - t) * (1 - t);
}

// Dragging, the wheel, two fingers, and clicks that were no drags.
function steer(canvas, camera, { click, hover, leave }) {
  const down = new Map();
  let moved = 0, spread = 0;
  const place = (e) => {
    const box = canvas.getBoundingClientRect();
    return [e.clientX - box.left, e.clientY - box.top];
  };
  canvas.addEventListener("pointerdown", (e) => {
    canvas.setPointerCapture(e.pointerId);
    down.set(e.pointerId, place(e));
    if (down.size === 1) moved = 0;
    spread = 0;
  });
  canvas.addEventListener("pointermove", (e) => {
    const at = place(e);
    const before = down.get(e.pointerId);
    if (!before) return hover(...at);
    down.set(e.pointerId, at);
    if (down.size === 2) {
      const [p, q] = [...down.values()];
      const apart = Math.hypot(p[0] - q[0], p[1] - q[1]);
      if (spread) camera.zoom(apart / spread, (p[0] + q[0]) / 2, (p[1] + q[1]) / 2);
      spread = apart;
      moved = Infinity;
      return;
    }
    moved += Math.abs(at[0] - before[0]) + Math.abs(at[1] - before[1]);
    if (moved > 4) {
      canvas.classList.add("grabbing");
      camera.pan(at[0] - before[0], at[1] - before[1]);
    }
  });
  const up = (e) => {
    const was = down.delete(e.pointerId);
    canvas.classList.remove("grabbing");
    if (was && e.type === "pointerup" && moved <= 4) click(...place(e), e);
  };
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);
  canvas.addEventListener("pointerleave", leave);
  canvas.addEventListener("wheel", (e) => {
    e.preventDefault();
    const unit = e.deltaMode === 1 ? 16 : 1;
    if (e.shiftKey) return camera.pan(-(e.deltaY + e.deltaX) * unit, 0);
    camera.zoom(Math.exp(-e.deltaY * unit * (e.ctrlKey ? 0.01 : 0.0016)), ...place(e));
  }, { passive: false });
}
