"use strict";
// Keys, folds, the filter, and links that open their span. Without this script the page can be read: each row opens.
// The keys are those of a tree (WAI-ARIA Authoring Practices, "Tree View Pattern"); each trace is one tab stop.

class Tree {
  constructor(list) {
    this.list = list;
    this.section = list.closest("section");
    this.rows = [...list.children].map((element) => ({ element, level: Number(element.dataset.level), folded: false }));
    this.of = new Map(this.rows.map((row) => [row.element, row]));
    const above = [];
    for (const row of this.rows) {
      above.length = row.level - 1;
      row.parent = above.at(-1);
      above.push(row);
    }
    this.setRoles();
    this.setCurrent(this.rows[0]);
    list.addEventListener("keydown", (event) => this.onKey(event));
    list.addEventListener("click", (event) => this.onClick(event));
    list.addEventListener("focusin", (event) => this.setCurrent(this.rowAt(event.target)));
  }

  setRoles() {
    this.list.setAttribute("role", "tree");
    const siblings = Map.groupBy(this.rows, (row) => row.parent);
    for (const { element, level, parent } of this.rows) {
      const row = this.of.get(element);
      element.setAttribute("role", "treeitem");
      element.setAttribute("aria-level", level);
      element.setAttribute("aria-setsize", siblings.get(parent).length);
      element.setAttribute("aria-posinset", siblings.get(parent).indexOf(row) + 1);
      if (siblings.has(row)) element.setAttribute("aria-expanded", "true");
      element.setAttribute("aria-label", spoken(element));
      element.tabIndex = -1;
      element.querySelector("summary").tabIndex = -1;
      for (const link of element.querySelectorAll("a")) link.tabIndex = -1;
    }
  }

  rowAt(target) {
    return this.of.get(target.closest(".row"));
  }

  visible() {
    return this.rows.filter((row) => !row.element.hidden);
  }

  setCurrent(row) {
    if (!row || row === this.current) return;
    if (this.current) this.setTabStop(this.current, -1);
    this.current = row;
    this.setTabStop(row, 0);
  }

  // The links of the current row's details come after it; those of other rows are passed by.
  setTabStop(row, index) {
    row.element.tabIndex = index;
    for (const link of row.element.querySelectorAll("a")) link.tabIndex = index;
  }

  focus(row) {
    if (!row) return;
    this.setCurrent(row);
    row.element.focus();
  }

  fold(row, folded) {
    row.folded = folded;
    row.element.setAttribute("aria-expanded", String(!folded));
    this.show();
  }

  open(row, isOpen) {
    row.element.querySelector("details").open = isOpen;
  }

  onClick(event) {
    const row = this.rowAt(event.target);
    if (event.target.closest(".fold") && isParent(row)) {
      event.preventDefault();
      this.fold(row, !row.folded);
    }
    if (event.target.closest("summary")) this.focus(row);
  }

  onKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const row = this.rowAt(event.target);
    const isOnRow = event.target === row.element;
    if (!isOnRow && event.key !== "Escape") return;
    const act = this.actions()[event.key];
    if (!act) return;
    event.preventDefault();
    act(row);
  }

  actions() {
    const move = (step) => (row) => this.focus(this.visible()[this.visible().indexOf(row) + step]);
    const toggle = (row) => this.open(row, !row.element.querySelector("details").open);
    return {
      ArrowDown: move(1),
      ArrowUp: move(-1),
      Home: () => this.focus(this.visible()[0]),
      End: () => this.focus(this.visible().at(-1)),
      ArrowRight: (row) => (row.folded ? this.fold(row, false) : isParent(row) && move(1)(row)),
      ArrowLeft: (row) => (isParent(row) && !row.folded ? this.fold(row, true) : this.focus(row.parent)),
      Enter: toggle,
      " ": toggle,
      Escape: (row) => { this.open(row, false); this.focus(row); },
    };
  }

  // Show the rows that pass, with those above them; without a filter, those that no fold hides. Return how many pass.
  show(filter = Tree.filter) {
    const passing = filter ? this.rows.filter((row) => filter(row.element)) : this.rows;
    const kept = new Set(passing);
    const shown = new Set(passing);
    for (const row of passing) for (let one = row.parent; filter && one && !shown.has(one); one = one.parent) shown.add(one);
    for (const row of this.rows) {
      const isFolded = !filter && row.parent && (row.parent.folded || row.parent.element.hidden);
      row.element.hidden = isFolded || !shown.has(row);
      row.element.classList.toggle("context", !kept.has(row));
    }
    this.section.querySelector(".none").hidden = passing.length > 0;
    if (this.current?.element.hidden) this.setCurrent(this.visible()[0]);
    return passing.length;
  }
}

const isParent = (row) => row.element.classList.contains("parent");

const spoken = (element) =>
  ["service", "text", "time"].map((name) => saying(element.querySelector(`.${name}`))).join(", ");

const saying = (element) =>
  [...element.childNodes].map((node) => node.ariaLabel ?? node.textContent).join(" ").replace(/\s+/g, " ").trim();

const trees = [...document.querySelectorAll(".rows")].filter((list) => list.children.length).map((list) => new Tree(list));

const form = document.querySelector("form.filter");

const filterBy = ({ service, kind, errors }) => {
  if (!service && !kind && !errors) return null;
  return ({ dataset, classList }) =>
    (!service || dataset.service === service) && (!kind || dataset.kind === kind) && (!errors || classList.contains("error"));
};

const applyFilter = () => {
  Tree.filter = filterBy(Object.fromEntries(new FormData(form)));
  const passing = trees.reduce((sum, tree) => sum + tree.show(), 0);
  const all = trees.reduce((sum, tree) => sum + tree.rows.length, 0);
  form.querySelector("output").value = Tree.filter ? `${passing} of ${all} spans` : "";
};

const showTarget = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const tree = trees.find((one) => one.of.has(target));
  if (!tree) return;
  const row = tree.of.get(target);
  if (target.hidden) form.reset();
  for (let one = row.parent; one; one = one.parent) if (one.folded) tree.fold(one, false);
  tree.open(row, true);
  tree.focus(row);
};

form.hidden = false;
for (const keys of document.querySelectorAll(".keys")) keys.hidden = false;
form.addEventListener("change", applyFilter);
form.addEventListener("reset", () => setTimeout(applyFilter));
form.addEventListener("submit", (event) => event.preventDefault());
addEventListener("hashchange", showTarget);
showTarget();
