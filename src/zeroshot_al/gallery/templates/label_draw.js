// Draws label.html, out of what label_store.js and label.js know.
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

function image(index) {
  const { image: src, id: alt } = picks[index];
  return make("img", { src, alt, className: src.startsWith("data:image/png") ? "pixels" : "" });
}

function answer(index) {
  if (!isOpen(index)) return make("b", {}, labels.get(index) || "not sure");
  const [name, probability] = picks[index].guess || [];
  return make("span", {}, name === undefined ? "" : `${name}? ${percent(probability)}`);
}

function tiles(indices, onClick) {
  const tile = (i) => makeButton(() => onClick(i), { title: picks[i].id }, image(i), answer(i));
  return make("ul", { className: "picks" }, ...indices.map((i) => make("li", {}, tile(i))));
}

function figure(index) {
  const { id, rank, reason } = picks[index];
  const text = make("figcaption", {}, make("span", {}, id), ` #${rank} ${reason} `);
  if (!isOpen(index)) text.append(answer(index));
  return make("figure", {}, image(index), text);
}

function confirmButton() {
  const guessed = view().find(guessOf);
  if (guessed === undefined) return "";
  const [name, probability] = picks[guessed].guess;
  const text = inGrid ? "Confirm marked guesses" : `Guess: ${name} (${percent(probability)})`;
  return makeButton(confirmGuess, { className: "confirm" }, make("kbd", {}, "Enter"), ` ${text}`);
}

function drawStage() {
  const done = by("show").value === "todo" ? "Every image has an answer." : "None here.";
  let shown = make("p", { className: "done" }, done);
  if (view().length) shown = inGrid ? tiles(view(), toggle) : figure(view()[0]);
  by("hint").hidden = !inGrid || !view().length;
  by("stage").classList.toggle("many", inGrid);
  by("stage").replaceChildren(shown, confirmButton());
  if (inGrid) mark(marked);
}

function drawAlike() {
  const [index] = view();
  by("alike").hidden = inGrid || index === undefined || picks.length < 2;
  if (by("alike").hidden) return;
  const others = [...picks.keys()].filter((other) => other !== index);
  by("strip").replaceChildren(tiles(nearest(index, others, N_ALIKE), goTo));
}

function classRow(name, key, count, most) {
  const bar = make("i", {});
  bar.style.width = `${(100 * count) / most}%`;
  const parts = [make("kbd", {}, key), make("span", {}, name), make("b", {}, String(count)), bar];
  const title = `Rename ${name}`;
  const look = { className: "rename", title, ariaLabel: title };
  const pen = makeButton(() => rename(name), look, "✎");
  return make("li", {}, makeButton(() => give(() => name), {}, ...parts), pen);
}

function drawShow(counts) {
  const show = by("show");
  const chosen = show.value;
  const option = (value, text, count) => make("option", { value }, `${text} (${count || 0})`);
  show.replaceChildren(
    option("todo", "not labelled yet", picks.length - labels.size),
    option("unsure", "not sure", counts.get(NOT_SURE)),
    ...classes.map((name) => option("=" + name, name, counts.get(name))));
  show.value = classes.includes(chosen.slice(1)) || chosen === "unsure" ? chosen : "todo";
}

function drawClasses(counts) {
  const most = Math.max(1, ...counts.values());
  const keyOf = keysOfClasses();
  const row = (name) => classRow(name, keyOf.get(name), counts.get(name) || 0, most);
  by("classes").replaceChildren(...classes.map(row));
  by("names").replaceChildren(...classes.map((value) => make("option", { value })));
}

function render() {
  const counts = new Map();
  labels.forEach((label) => counts.set(label, (counts.get(label) || 0) + 1));
  const nUnsure = counts.get(NOT_SURE) || 0;
  const nLabelled = labels.size - nUnsure;
  by("progress").value = labels.size;
  by("progress-text").textContent =
    `${nLabelled} of ${picks.length} labelled` + (nUnsure ? `, ${nUnsure} not sure` : "");
  by("grid").setAttribute("aria-pressed", inGrid);
  by("back").disabled = at <= 0;
  drawClasses(counts);
  drawShow(counts);
  drawStage();
  drawAlike();
}
