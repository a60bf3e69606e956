// Finding operations by name or type, and the scopes as a list that opens.

const MOST_FOUND = 60;

class Search {
  constructor(model, input, list, app) {
    this.model = model;
    this.input = input;
    this.list = list;
    this.app = app;
    this.found = [];
    this.at = 0;
    input.addEventListener("input", () => this.look());
    input.addEventListener("keydown", (e) => this.key(e));
    input.addEventListener("focus", () => this.look());
    input.addEventListener("blur", () => setTimeout(() => this.close(), 150));
  }

  // All words must be in the name or the type, in any case; scopes by their label.
  matches(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) return [];
    const { model } = this;
    const { ops, types } = model.data;
    const found = [];
    const fits = (name) => words.every((w) => name.includes(w));
    for (let b = 1; b < model.count; b++) {
      if (model.kind[b] === SCOPE && fits(model.label[b].toLowerCase())) {
        found.push({ box: b, name: model.label[b], note: count(model.total[b], "operation"), rank: 1 });
      }
    }
    for (let o = 0; o < ops.name.length; o++) {
      const name = ops.name[o], type = types[ops.type[o]];
      if (!fits(`${name} ${type}`.toLowerCase())) continue;
      const home = ops.home[o];
      const own = home >= 0 && model.op[home] === o;
      const rank = name.toLowerCase() === words[0] ? 0 : own ? 2 : 3;
      found.push({ box: home, name, note: own ? type : `${type}, noted in its reader`, rank });
    }
    return found.sort((a, b) => a.rank - b.rank || a.name.length - b.name.length);
  }

  look() {
    this.found = this.matches(this.input.value);
    this.at = 0;
    this.render();
  }

  render() {
    const { list, input, found } = this;
    list.replaceChildren();
    found.slice(0, MOST_FOUND).forEach((hit, i) => {
      const li = element("li");
      li.id = `found${i}`;
      li.setAttribute("role", "option");
      li.setAttribute("aria-selected", String(i === this.at));
      li.append(hit.name.length > 200 ? hit.name.slice(0, 199) + "…" : hit.name, " ", element("small", "", hit.note));
      li.addEventListener("pointerdown", (e) => {
        e.preventDefault();
        this.go(i);
      });
      list.append(li);
    });
    if (input.value && (found.length > MOST_FOUND || !found.length)) {
      const text = found.length ? `${(found.length - MOST_FOUND).toLocaleString("en")} more` : "Nothing found";
      list.append(element("li", "more", text));
    }
    list.hidden = !input.value;
    input.setAttribute("aria-expanded", String(!list.hidden));
    if (found.length) input.setAttribute("aria-activedescendant", `found${this.at}`);
    else input.removeAttribute("aria-activedescendant");
    this.app.say(input.value ? `${found.length} found` : "");
  }

  key(e) {
    const last = Math.min(this.found.length, MOST_FOUND) - 1;
    if (e.key === "ArrowDown" || e.key === "ArrowUp") {
      this.at = Math.max(0, Math.min(last, this.at + (e.key === "ArrowDown" ? 1 : -1)));
      this.render();
      const chosen = this.list.children[this.at];
      if (chosen) chosen.scrollIntoView({ block: "nearest" });
    } else if (e.key === "Enter") {
      this.go(this.at);
    } else if (e.key === "Escape") {
      this.close();
      this.app.focusGraph();
    } else {
      return;
    }
    e.preventDefault();
  }

  go(i) {
    const hit = this.found[i];
    if (!hit || hit.box < 0) return;
    this.close();
    this.app.goTo(hit.box);
    this.app.focusGraph();
  }

  close() {
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
  }
}

class Outline {
  constructor(model, nav, app) {
    this.model = model;
    this.nav = nav;
    this.app = app;
    this.tree = nav.querySelector("ul");
    nav.addEventListener("click", (e) => this.click(e));
    nav.addEventListener("keydown", (e) => this.key(e));
  }

  // The list of all boxes in open scopes.
  render() {
    if (this.nav.hidden) return;
    const held = document.activeElement && this.nav.contains(document.activeElement);
    this.tree.replaceChildren();
    const stack = [[this.tree, 0]];
    let made = 0;
    while (stack.length) {
      const [into, scope] = stack.pop();
      const inside = this.model.children[scope];
      inside.forEach((b, i) => {
        if (made++ > 5000) return;
        const li = this.item(b, i, inside.length);
        into.append(li);
        if (this.model.opens(b) && this.app.open.has(b)) {
          const ul = element("ul");
          ul.setAttribute("role", "group");
          li.append(ul);
          stack.push([ul, b]);
        }
      });
    }
    this.choose(this.app.scene.selected, held);
  }

  item(b, i, n) {
    const { model } = this;
    const li = element("li");
    li.setAttribute("role", "treeitem");
    li.dataset.box = b;
    li.tabIndex = -1;
    li.setAttribute("aria-level", String(model.depth[b]));
    li.setAttribute("aria-posinset", String(i + 1));
    li.setAttribute("aria-setsize", String(n));
    if (model.opens(b)) li.setAttribute("aria-expanded", String(this.app.open.has(b)));
    const label = model.label[b];
    li.append(element("span", "", label.length > 120 ? label.slice(0, 119) + "…" : label));
    return li;
  }

  choose(box, focus = false) {
    for (const li of this.tree.querySelectorAll('[aria-selected="true"]')) {
      li.removeAttribute("aria-selected");
      li.tabIndex = -1;
    }
    const li = this.tree.querySelector(`[data-box="${box}"]`) || this.tree.querySelector("li");
    if (!li) return;
    li.tabIndex = 0;
    if (Number(li.dataset.box) === box) li.setAttribute("aria-selected", "true");
    if (focus) li.focus();
    else if (box >= 0) li.scrollIntoView({ block: "nearest" });
  }

  click(e) {
    const li = e.target.closest("li");
    if (!li) return;
    const box = Number(li.dataset.box);
    if (box === this.app.scene.selected && this.model.opens(box)) this.app.toggle(box);
    else this.app.goTo(box);
  }

  key(e) {
    const all = [...this.tree.querySelectorAll("li")];
    const i = all.indexOf(document.activeElement);
    if (i < 0) return;
    const box = Number(all[i].dataset.box);
    const open = this.app.open.has(box), opens = this.model.opens(box);
    const move = (k) => {
      const li = all[Math.max(0, Math.min(all.length - 1, k))];
      this.app.select(Number(li.dataset.box), { reveal: true });
      this.choose(Number(li.dataset.box), true);
    };
    if (e.key === "ArrowDown") move(i + 1);
    else if (e.key === "ArrowUp") move(i - 1);
    else if (e.key === "Home") move(0);
    else if (e.key === "End") move(all.length - 1);
    else if (e.key === "ArrowRight" && opens) open ? move(i + 1) : this.app.toggle(box);
    else if (e.key === "ArrowLeft" && opens && open) this.app.toggle(box);
    else if (e.key === "ArrowLeft" && this.model.parent[box] > 0) {
      move(all.findIndex((li) => Number(li.dataset.box) === this.model.parent[box]));
    } else if (e.key === "Enter" || e.key === " ") opens ? this.app.toggle(box) : this.app.goTo(box);
    else return;
    e.preventDefault();
    e.stopPropagation();
  }
}
