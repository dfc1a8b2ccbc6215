// What label.html shows, and what keys and clicks do. A view is the image that is shown, or a grid.
const points = Int8Array.from(atob(data.points), (byte) => byte.charCodeAt(0));
const KEYS = "123456789abcdefghijklmnopqrstuvwxyz";
const N_GRID = 12;
const N_ALIKE = 8;

let views = []; // lists of indices, as they were shown
let at = -1;
let marked = new Set(); // of the view: those that the next answer is for
let passed = new Set(); // shown in this round
let inGrid = false;

const by = (id) => document.getElementById(id);
const view = () => views[at] || [];
const isOpen = (index) => !labels.has(index);
const guessOf = (index) => (picks[index].guess ? picks[index].guess[0] : undefined);

function say(text) {
  by("status").textContent = text;
}

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function makeButton(onClick, properties, ...children) {
  const button = make("button", { type: "button", ...properties }, ...children);
  button.addEventListener("click", onClick);
  return button;
}

// Which images come next.

function isWanted(index) {
  const show = by("show").value;
  if (show === "todo") return isOpen(index);
  return labels.get(index) === (show === "unsure" ? NOT_SURE : show.slice(1));
}

function squaredDistance(one, other) {
  let sum = 0;
  for (let k = 0; k < data.n_dims; k++) {
    sum += (points[one * data.n_dims + k] - points[other * data.n_dims + k]) ** 2;
  }
  return sum;
}

function nearest(index, others, count) {
  const gaps = others.map((other) => [squaredDistance(index, other), other]);
  return gaps.sort((a, b) => a[0] - b[0] || a[1] - b[1]).slice(0, count).map(([, other]) => other);
}

function gridOf(candidates) {
  const guessed = candidates.filter(guessOf);
  if (by("sort").value === "alike" || !guessed.length) {
    return [candidates[0], ...nearest(candidates[0], candidates.slice(1), N_GRID - 1)];
  }
  const [name] = guessed.map(guessOf).sort();
  const same = guessed.filter((index) => guessOf(index) === name);
  return same.sort((a, b) => picks[b].guess[1] - picks[a].guess[1]).slice(0, N_GRID);
}

function newView() {
  const wanted = [...picks.keys()].filter(isWanted);
  let candidates = wanted.filter((index) => !passed.has(index));
  if (!candidates.length) {
    passed = new Set(); // another round, of what was skipped
    candidates = wanted;
  }
  return inGrid && candidates.length ? gridOf(candidates) : candidates.slice(0, 1);
}

function enter(position) {
  at = position;
  marked = new Set(inGrid ? view().filter(isOpen) : view());
  render();
}

function next() {
  view().forEach((index) => passed.add(index));
  views = views.filter((shown) => shown.length);
  if (at + 1 >= views.length) views.push(newView());
  enter(Math.min(at + 1, views.length - 1));
}

function back() {
  enter(Math.max(0, at - 1));
}

function start() {
  [views, at, passed] = [[], -1, new Set()];
  next();
}

function goTo(index) {
  views = [...views.slice(0, at + 1), [index]];
  enter(at + 1);
}

function switchGrid() {
  inGrid = !inGrid;
  start();
}

// Answers.

function give(labelOf) {
  const given = [...marked].filter((index) => labelOf(index) !== undefined);
  const wasOpen = !inGrid || view().some(isOpen);
  by("stage").focus({ preventScroll: true });
  if (!given.length) return say(marked.size ? "There is no guess here." : "Mark an image first.");
  given.forEach((index) => labels.set(index, labelOf(index)));
  store();
  say(inGrid ? `${given.length} labelled.` : "");
  if (wasOpen && !(inGrid && view().some(isOpen))) next();
  else enter(at);
}

function giveTyped(typed) {
  const name = cleaned(typed);
  if (!name) return;
  const known = classes.find((other) => other.toLowerCase() === name.toLowerCase()) || name;
  addClasses([known]);
  give(() => known);
  render();
}

function removeLabels() {
  marked.forEach((index) => labels.delete(index));
  store();
  enter(at);
}

function rename(name) {
  const typed = prompt(`Another name for ${name}; that of another class joins the two.`, name);
  const other = cleaned(typed || "") || name;
  classes = [...new Set(classes.map((one) => (one === name ? other : one)))];
  labels.forEach((label, index) => label === name && labels.set(index, other));
  store();
  render();
}

function mark(indices) {
  marked = new Set(indices);
  by("stage").querySelectorAll(".tiles button").forEach(function (button, place) {
    button.setAttribute("aria-pressed", marked.has(view()[place]));
  });
}

function toggle(index) {
  mark(marked.has(index) ? [...marked].filter((one) => one !== index) : [...marked, index]);
}

// Drawing.

function image(index) {
  const { image: src, id: alt } = picks[index];
  return make("img", { src, alt, className: src.startsWith("data:image/png") ? "pixels" : "" });
}

function guessText([name, probability]) {
  return `${name} ${Math.round(100 * probability)}%`;
}

function answer(index) {
  if (!isOpen(index)) return make("b", {}, labels.get(index) || "not sure");
  return make("span", {}, picks[index].guess ? `${guessText(picks[index].guess)}?` : "");
}

function tiles(indices, onClick) {
  const tile = (i) => makeButton(() => onClick(i), { title: picks[i].id }, image(i), answer(i));
  return make("ul", { className: "tiles" }, ...indices.map((i) => make("li", {}, tile(i))));
}

function figure(index) {
  const { id, rank, reason } = picks[index];
  const text = make("figcaption", {}, make("span", {}, id), ` #${rank} ${reason} `);
  if (!isOpen(index)) text.append(answer(index));
  return make("figure", {}, image(index), text);
}

function confirmButton() {
  const guessed = view().filter(guessOf);
  if (!guessed.length) return "";
  const text = inGrid ? "Confirm the guesses of the marked" : `Guess: ${guessText(picks[guessed[0]].guess)}`;
  return makeButton(confirmGuess, { className: "confirm" }, make("kbd", {}, "Enter"), ` ${text}`);
}

function drawStage() {
  by("stage").classList.toggle("grid", inGrid);
  const done = by("show").value === "todo" ? "Every image has an answer." : "None here.";
  if (!view().length) by("stage").replaceChildren(make("p", { className: "done" }, done));
  else by("stage").replaceChildren(inGrid ? tiles(view(), toggle) : figure(view()[0]), confirmButton());
  if (inGrid) mark(marked);
}

function drawAlike() {
  const [index] = view();
  by("alike").hidden = inGrid || index === undefined || picks.length < 2;
  if (by("alike").hidden) return;
  const others = [...picks.keys()].filter((other) => other !== index);
  by("strip").replaceChildren(tiles(nearest(index, others, N_ALIKE), goTo));
}

function classRow(name, position, count, most) {
  const bar = make("i", {});
  bar.style.width = `${(100 * count) / most}%`;
  const parts = [make("kbd", {}, KEYS[position] || ""), make("span", {}, name), make("b", {}, String(count)), bar];
  const pen = makeButton(() => rename(name), { className: "rename", title: `Rename ${name}` }, "✎");
  pen.setAttribute("aria-label", pen.title);
  return make("li", {}, makeButton(() => give(() => name), {}, ...parts), pen);
}

function drawShow(counts) {
  const show = by("show");
  const chosen = show.value;
  const options = [["todo", `not labelled yet (${picks.length - labels.size})`]];
  options.push(["unsure", `not sure (${counts.get(NOT_SURE) || 0})`]);
  classes.forEach((name) => options.push(["=" + name, `${name} (${counts.get(name) || 0})`]));
  show.replaceChildren(...options.map(([value, text]) => make("option", { value }, text)));
  show.value = chosen;
  if (!show.value) show.value = "todo";
}

function render() {
  const counts = new Map();
  labels.forEach((label) => counts.set(label, (counts.get(label) || 0) + 1));
  const nUnsure = counts.get(NOT_SURE) || 0;
  const most = Math.max(1, ...counts.values());
  by("progress").value = labels.size;
  by("progress-text").textContent =
    `${labels.size - nUnsure} of ${picks.length} labelled` + (nUnsure ? `, ${nUnsure} not sure` : "");
  by("grid").setAttribute("aria-pressed", inGrid);
  by("back").disabled = at <= 0;
  by("classes").replaceChildren(...classes.map((name, i) => classRow(name, i, counts.get(name) || 0, most)));
  by("names").replaceChildren(...classes.map((value) => make("option", { value })));
  drawShow(counts);
  drawStage();
  drawAlike();
}

// Keys and clicks.

const confirmGuess = () => give(guessOf);
const notSure = () => give(() => NOT_SURE);
const COMMANDS = {
  Enter: confirmGuess, 0: notSure, ArrowRight: next, ArrowLeft: back,
  Delete: removeLabels, Backspace: removeLabels, "+": () => by("name").focus(),
  ".": switchGrid, ",": () => inGrid && mark(marked.size ? [] : view()),
};

function commandOf(event) {
  // Some keyboards, such as French ones, have the digits on the shifted keys.
  const digit = event.shiftKey ? null : /^Digit(\d)$/.exec(event.code);
  const key = digit ? digit[1] : event.key;
  const position = KEYS.indexOf(key.toLowerCase());
  return position in classes ? () => give(() => classes[position]) : COMMANDS[key];
}

function onKey(event) {
  const target = event.target;
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (target.matches("input, select")) {
    if (event.key === "Escape") by("stage").focus({ preventScroll: true });
    return;
  }
  // Enter presses the button that has the focus; an image in the grid is marked by the space bar.
  const isNative = event.key === "Enter" && target.matches("button:not([aria-pressed]), summary, a");
  const command = isNative ? undefined : commandOf(event);
  if (!command) return;
  event.preventDefault();
  say("");
  command();
}

async function load(file) {
  try {
    say(take(fromJson(await file.text())));
  } catch {
    return say(`${file.name} holds no labels; load what "Save as JSON" wrote.`);
  }
  start();
}

function offer(found) {
  const count = [...found.labels.keys()].filter(isOpen).length;
  const text = `This browser holds labels of ${count} of these images from another batch. `;
  const line = make("p", { className: "alert" }, text);
  line.append(makeButton(() => (say(take(found)), line.remove(), start()), {}, "Take them"));
  by("alert").after(line);
}

function listen() {
  const clicks = { grid: switchGrid, back, skip: next, unsure: notSure };
  clicks.download = () => download(data.file, toCsv());
  clicks.save = () => download(data.file.replace(/csv$/, "json"), toJson());
  Object.entries(clicks).forEach(([id, action]) => by(id).addEventListener("click", action));
  ["show", "sort"].forEach((id) => by(id).addEventListener("change", start));
  by("load").addEventListener("change", (event) => load(event.target.files[0]));
  by("new-class").addEventListener("submit", function (event) {
    event.preventDefault();
    giveTyped(by("name").value);
    event.target.reset();
  });
  document.addEventListener("keydown", onKey);
  window.addEventListener("storage", (event) => event.key === KEY && (restore(), start()));
}

restore();
store(); // says at once whether the browser keeps labels
listen();
start();
storedElsewhere().forEach(offer);
if (!classes.length) by("name").focus();
