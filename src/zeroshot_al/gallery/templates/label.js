// What label.html shows, and what keys and clicks do. A view is the image that is shown, or a grid.
const points = Int8Array.from(atob(data.points), (byte) => byte.charCodeAt(0));
const KEYS = "1234567890abcdefghijklmnopqrstuvwxyz"; // of classes
const N_GRID = window.innerWidth < 720 ? 9 : 12;
const N_ALIKE = 8;

let views = []; // lists of indices, as they were shown
let at = -1;
let marked = new Set(); // of the view: those that the next answer is for
let passed = new Set(); // shown in this round
let inGrid = false;

const by = (id) => document.getElementById(id);
const view = () => views[at] || [];
const guessOf = (index) => (picks[index].guess ? picks[index].guess[0] : undefined);
const percent = (share) => `${Math.round(100 * share)}%`;
const say = (text) => (by("status").textContent = text);

// Which images come next.

function isWanted(index) {
  const show = by("show").value;
  if (show === "todo") return isOpen(index);
  return labels.get(index) === (show === "unsure" ? NOT_SURE : show.slice(1));
}

function nearest(index, others, count) {
  const pointOf = (i) => points.subarray(i * data.n_dims, (i + 1) * data.n_dims);
  const centre = pointOf(index);
  const distance = (i) => pointOf(i).reduce((sum, x, k) => sum + (x - centre[k]) ** 2, 0);
  const found = others.map((other) => [distance(other), other]);
  return found.sort((a, b) => a[0] - b[0] || a[1] - b[1]).slice(0, count).map(([, i]) => i);
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
  by("stage").querySelectorAll(".picks button").forEach(function (button, place) {
    button.setAttribute("aria-pressed", marked.has(view()[place]));
  });
}

const toggle = (index) => mark(marked.delete(index) ? marked : marked.add(index));

// Keys and clicks.

// Each class's key. One whose name is a key, such as those of digits, has that one.
function keysOfClasses() {
  const own = classes.filter((name) => [...KEYS].includes(name));
  const free = [...KEYS].filter((key) => !own.includes(key));
  return new Map(classes.map((name) => [name, own.includes(name) ? name : free.shift() || ""]));
}

const back = () => enter(Math.max(0, at - 1));
const confirmGuess = () => give(guessOf);
const notSure = () => give(() => NOT_SURE);
const COMMANDS = {
  Enter: confirmGuess, "?": notSure, ArrowRight: next, ArrowLeft: back,
  Delete: removeLabels, Backspace: removeLabels, "+": () => by("name").focus(),
  ".": switchGrid, ",": () => inGrid && mark(marked.size ? [] : view()),
};

function commandOf(event) {
  // Some keyboards, such as French ones, have the digits on the shifted keys.
  const digit = event.shiftKey ? null : /^Digit(\d)$/.exec(event.code);
  const key = digit ? digit[1] : event.key;
  const keyOf = keysOfClasses();
  const name = classes.find((one) => keyOf.get(one) === key.toLowerCase());
  return name === undefined ? COMMANDS[key] : () => give(() => name);
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.id === "name" && event.key === "Escape") by("stage").focus();
  if (event.target.matches("input, select")) return;
  // Enter presses the button that has the focus; the space bar marks an image in the grid.
  const pressed = "button:not([aria-pressed]), summary, a";
  if (event.key === "Enter" && event.target.matches(pressed)) return;
  const command = commandOf(event);
  if (!command) return;
  event.preventDefault();
  say("");
  command();
}

function add(found) {
  say(take(found));
  start();
}

function load([file]) {
  const refuse = () => say(`${file.name} holds no labels; load what "Save as JSON" wrote.`);
  if (file) file.text().then((text) => add(fromJson(text))).catch(refuse);
}

function offer(found) {
  const count = [...found.labels.keys()].filter(isOpen).length;
  const text = `This browser holds labels of ${count} of these images from another batch. `;
  const line = make("p", { className: "alert" }, text);
  line.append(makeButton(() => (add(found), line.remove()), {}, "Take them"));
  by("alert").after(line);
}

function listen() {
  const clicks = { grid: switchGrid, back, skip: next, unsure: notSure };
  clicks.download = () => download(data.file, toCsv());
  clicks.save = () => download(data.file.replace(/csv$/, "json"), toJson());
  Object.entries(clicks).forEach(([id, action]) => by(id).addEventListener("click", action));
  ["show", "sort"].forEach((id) => by(id).addEventListener("change", start));
  by("load").addEventListener("click", (event) => (event.target.value = "")); // the same file again
  by("load").addEventListener("change", (event) => load(event.target.files));
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
