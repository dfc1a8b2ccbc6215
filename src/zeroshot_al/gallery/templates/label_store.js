"use strict";
// The labels of this page: in memory, in the browser's storage, and as files. label.js shows them.
const data = JSON.parse(document.getElementById("data").textContent);
const picks = data.picks;
const indexOf = new Map(picks.map((pick, index) => [pick.id, index]));
const NOT_SURE = null;
const PREFIX = "label-first:"; // of our entries in the browser's storage
const KEY = PREFIX + data.batch;

let classes = data.classes.slice();
let labels = new Map(); // by index: the name of a class, or NOT_SURE
let isKept = true; // whether the browser stores them
let isDownloaded = true;

const cleaned = (name) => name.normalize("NFC").trim().replace(/\s+/g, " ");
const isOpen = (index) => !labels.has(index);
const addClasses = (names) => (classes = [...new Set([...classes, ...names])].filter(Boolean));

// What the browser stores, and "Save as JSON" writes.
function toJson() {
  const entries = [...labels].map(([index, label]) => [picks[index].id, label]);
  const given = Object.fromEntries(entries.filter(([, label]) => label !== NOT_SURE));
  const not_sure = entries.filter(([, label]) => label === NOT_SURE).map(([id]) => id);
  return JSON.stringify({ batch: data.batch, classes, labels: given, not_sure }, null, 1);
}

// Throws if the text is not what `toJson` writes.
function fromJson(text) {
  const read = JSON.parse(text);
  const found = new Map();
  const all = Object.entries(read.labels).map(([id, label]) => [id, cleaned(label)]);
  read.not_sure.forEach((id) => all.push([id, NOT_SURE]));
  for (const [id, label] of all) {
    if (indexOf.has(id) && label !== "") found.set(indexOf.get(id), label);
  }
  const names = [...read.classes.map(cleaned), ...found.values()];
  return { classes: names, labels: found, nForeign: all.length - found.size };
}

// Adds labels to those that are here, which stay, and says in words what it did.
function take(found) {
  const known = [...found.labels].filter(([index]) => labels.has(index));
  const nOther = known.filter(([index, label]) => labels.get(index) !== label).length;
  labels = new Map([...found.labels, ...labels]);
  addClasses(found.classes);
  store();
  const texts = [`${found.labels.size - known.length} labels added.`];
  if (nOther) texts.push(`${nOther} differ from yours, which stay.`);
  if (found.nForeign) texts.push(`${found.nForeign} are of images that are not on this page.`);
  return texts.join(" ");
}

// The storage may be full or switched off: the page says so as long as labels are at stake.
function store() {
  isDownloaded = false;
  try {
    localStorage.setItem(KEY, toJson());
    isKept = true;
  } catch {
    isKept = false;
  }
  document.getElementById("alert").hidden = isKept;
}

function stored(key) {
  try {
    return fromJson(localStorage.getItem(key));
  } catch {
    return { classes: [], labels: new Map() };
  }
}

function restore() {
  const found = stored(KEY);
  classes = data.classes.slice();
  addClasses(found.classes);
  data.parts.forEach((batch) => addClasses(stored(PREFIX + batch).classes)); // typed there
  labels = found.labels;
}

// Labels of these images from other batches, such as this one with another budget.
function storedElsewhere() {
  const keys = isKept ? Object.keys(localStorage).filter((key) => key.startsWith(PREFIX)) : [];
  return keys.map(stored).filter((found) => [...found.labels.keys()].some(isOpen));
}

// As the project's tables for people: nothing that a spreadsheet takes for a formula.
function cell(text) {
  const safe = /^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20']/.test(text) ? "'" + text : text;
  return /[",;\t\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function toCsv() {
  const rows = picks.map((pick, index) => [pick.id, labels.get(index)]);
  const given = [["id", "label"], ...rows.filter(([, label]) => label)];
  return "\ufeff" + given.map((row) => row.map(cell).join(",") + "\r\n").join("");
}

function download(name, text) {
  const address = URL.createObjectURL(new Blob([text], { type: "application/octet-stream" }));
  Object.assign(document.createElement("a"), { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
  isDownloaded = true;
}

const isAtStake = () => !isKept && !isDownloaded && labels.size > 0;
window.addEventListener("beforeunload", (event) => isAtStake() && event.preventDefault());
