// Colours: those of the SVG pictures (handed over with the data), and dark ones of
// the same hues.

const DARK_PARTS = {
  input: ["#4a3a12", "#e0a63a"],
  variable: ["#17384b", "#5fb0dc"],
  constant: ["#2b3036", "#8d98a4"],
  forward: ["#183754", "#5ba3de"],
  backward: ["#4d2b14", "#f0935a"],
  update: ["#123f33", "#3fbf98"],
  initializer: ["#45233a", "#d288b0"],
  opaque: ["#14171b", "#98a4b0"],
};

// Cividis: even in lightness, and read alike with and without colour blindness.
const RAMP = [
  [0, 34, 78], [18, 53, 112], [59, 73, 108], [87, 93, 109], [112, 113, 115],
  [138, 134, 120], [165, 156, 116], [195, 179, 105], [225, 204, 85], [254, 232, 56],
];

const COLOURS = {
  light: {
    text: "#1b1f24", muted: "#59636e", back: "#ffffff", line: "#6b7682",
    kept: "#b9c1ca", scopes: ["#f6f7f9", "#ffffff"], scopeLine: "#c4cad1",
    bodyLine: "#8a63b8", closed: "#ffffff", ring: "#0060a0", into: "#0072b2",
    out: "#d55e00", lit: "#f0b400", area: "#cfe4f2", stroke: "#0072b2",
    measured: "#d55e00", peak: "#a3261b", none: "#eceef0", grid: "#e3e6ea",
  },
  dark: {
    text: "#e6e9ed", muted: "#9aa5b1", back: "#14171b", line: "#77828e",
    kept: "#454d57", scopes: ["#1b1f24", "#22272d"], scopeLine: "#434b55",
    bodyLine: "#a98bd0", closed: "#242a31", ring: "#6cb8f0", into: "#56b4e9",
    out: "#f0935a", lit: "#f0c64a", area: "#1d3f57", stroke: "#56b4e9",
    measured: "#f0935a", peak: "#ff8577", none: "#2b3138", grid: "#2b3138",
  },
};

class Theme {
  constructor(looks) {
    this.looks = looks;
    const wanted = matchMedia("(prefers-color-scheme: dark)");
    this.set(wanted.matches ? "dark" : "light");
    wanted.addEventListener("change", (e) => this.set(e.matches ? "dark" : "light"));
  }

  set(name) {
    this.name = name;
    this.colours = COLOURS[name];
    document.documentElement.dataset.theme = name;
    if (this.changed) this.changed();
  }

  toggle() {
    this.set(this.name === "dark" ? "light" : "dark");
  }

  // Fill and line of a part of the graph.
  part(key) {
    if (this.name === "dark") return DARK_PARTS[key] || DARK_PARTS.constant;
    const look = this.looks[key] || this.looks.constant;
    return [look[1], look[2]];
  }
}

function ramp(t) {
  const at = Math.min(1, Math.max(0, t)) * (RAMP.length - 1);
  const i = Math.min(RAMP.length - 2, Math.floor(at));
  const mix = RAMP[i].map((c, k) => Math.round(c + (RAMP[i + 1][k] - c) * (at - i)));
  return `rgb(${mix.join(",")})`;
}

// Black or white, whichever is read better on the ramp's colour.
function onRamp(t) {
  return t < 0.5 ? "#ffffff" : "#14171b";
}

function bytesText(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0, size = n;
  while (Math.abs(size) >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return unit ? `${size < 100 ? +size.toPrecision(3) : Math.round(size)} ${units[unit]}` : `${n} B`;
}

function flopsText(n) {
  if (n < 1000) return String(n);
  const unit = Math.min(4, Math.floor(Math.log10(n) / 3));
  return `${+(n / 1000 ** unit).toPrecision(3)} ${["", "k", "M", "G", "T"][unit]}`;
}

function timeText(ns) {
  if (ns < 1e3) return `${Math.round(ns)} ns`;
  if (ns < 1e6) return `${+(ns / 1e3).toPrecision(3)} µs`;
  return `${+(ns / 1e6).toPrecision(3)} ms`;
}
