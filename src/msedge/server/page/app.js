/**
 * The page: draw, and find.
 *
 * One question is in force at a time. Whatever changes it (the hand, a chip, a filter, undo, the
 * browser's back button) goes through `change` or `visit`, and everything that is shown follows
 * from it.
 */

import { fromFragment, toFragment } from "./address.js";
import { ServerError, gallery, startSession, takeToken } from "./api.js";
import { Board } from "./board.js";
import { Chips } from "./chips.js";
import { Connection } from "./connection.js";
import { byId } from "./elements.js";
import { Filters } from "./filters.js";
import { Grid } from "./grid.js";
import { Hand } from "./hand.js";
import { startIntake } from "./intake.js";
import { listenForKeys } from "./keys.js";
import { Names } from "./names.js";
import { Pen } from "./pen.js";
import { PhotoDialog } from "./photo_dialog.js";
import { base64Of, isShown, pictureOf } from "./pictures.js";
import * as questions from "./question.js";
import { Results, download, galleryText } from "./results.js";
import { Searching } from "./searching.js";
import { Steps } from "./steps.js";
import { startTheme } from "./theme.js";
import { Where } from "./where.js";

/** Photos asked for at first, and more at a time; the server gives 500 at most. */
const PAGE = 48;
const MOST = 500;

/** Milliseconds between looks at a gallery that is empty or grows: it is being filled. */
const LOOK_AGAIN = 5000;

const unfiltered = ({ strokes, picture, likes, unlikes, named, notNamed }) => ({
  ...{ strokes, picture, likes, unlikes, named, notNamed },
});
const written = (question) => toFragment({ ...question, filters: {} }).fragment;

let question = questions.NOTHING;
let wanted = PAGE;
let photos = null; // how many the gallery holds; unknown at first
let lookingAgain = null;
const steps = new Steps(unfiltered(question), (a, b) => written(a) === written(b));

const sheet = byId("sheet");
const board = new Board(sheet);
const hand = new Hand(sheet, board, { drawing: searchLive, drawn: addStroke, rubbed: setStrokes });
const pen = new Pen(sheet, board, { drawing: searchLive, drawn: addStroke, said: say });
const grid = new Grid(byId("grid"), {
  opened: (hit) => dialog.open(hit),
  more: (hit) => addExample("likes", hit),
  not: (hit) => addExample("unlikes", hit),
});
const where = new Where(byId("where"), byId("grid"), () => dialog.locate());
const dialog = new PhotoDialog(byId("photo"), grid, {
  more: (hit) => addExample("likes", hit),
  not: (hit) => addExample("unlikes", hit),
  where: (hit) => (where.isOn ? where.of(hit.id) : undefined),
});
const results = new Results(grid);
const chips = new Chips(byId("chips"), {
  withoutPicture: () => change({ picture: null }),
  withoutPhoto: (id) => change(questions.withoutExample(question, id)),
});
const names = new Names(byId("names"), {
  settled: (name) => addName("named", name),
  refused: (name) => addName("notNamed", name),
  released: (name) => {
    change(questions.withoutName(question, name));
    say(`${name}: as the drawing says`);
  },
  alone: (alone) => {
    change(questions.withoutNames(question, alone));
    say(alone ? "The drawing alone" : "With names");
  },
  unknown: (text) => results.warn(text),
});
const filters = new Filters(byId("filters"), byId("filters-toggle"), (chosen) =>
  change({ filters: chosen }),
);
const connection = new Connection(byId("lost"), () => {
  say("Connected again");
  lookAtGallery();
  search();
});
const searching = new Searching({
  answered(answer, body) {
    connection.found();
    chips.learn(answer.hits);
    names.learn(answer.names);
    results.show(answer, answer.hits.length === body.k && body.k < MOST);
    where.follow(body);
  },
  refused: (error) => results.refuse(refusalText(error)),
  lost: () => connection.lost(),
  busy(isBusy) {
    if (isBusy) where.drop();
    results.busy(isBusy);
  },
  slow: (isSlow) => results.slow(isSlow),
});

/** Make another question the one in force, as a step that undo and the back button lead back from. */
function change(changes) {
  question = { ...question, ...changes };
  results.forgive();
  steps.go(unfiltered(question));
  record();
  follow();
}

/** Go where the address says. */
function visit() {
  const { question: read, readable } = fromFragment(location.hash);
  question = read;
  results.forgive();
  steps.visit(unfiltered(question));
  follow();
  if (!readable) results.warn("A part of this address could not be read, and was left out.");
  else if (question.picture && !pictureOf(question.picture)) {
    results.warn("The picture of this search is not in its address. Please add it again.");
  }
}

function stepBack() {
  steps.undo();
  change(steps.present);
}

function stepForward() {
  steps.redo();
  change(steps.present);
}

function record() {
  const { fragment, whole } = toFragment(question);
  const address = fragment ? `#${fragment}` : location.pathname + location.search;
  if (`#${fragment}` === (location.hash || "#")) return;
  // A photo that is open is a step of its own, which this one replaces.
  if (history.state?.photo === undefined) history.pushState(null, "", address);
  else history.replaceState(null, "", address);
  if (!whole) {
    results.warn("The drawing is too large for the address, which holds only its first strokes.");
  }
}

/** Show the question in force, and ask it. */
function follow() {
  const picture = pictureOf(question.picture);
  const { strokes } = question;
  hand.strokes = pen.strokes = strokes;
  board.show({ strokes });
  sheet.ariaLabel = `Sheet to draw on, ${strokes.length} ${strokes.length === 1 ? "stroke" : "strokes"}`;
  byId("hint").hidden = strokes.length > 0;
  chips.show(question, picture && { ...picture, url: isShown(picture) ? picture.url : null });
  names.show(question);
  filters.show(question.filters);
  byId("undo").disabled = !steps.canUndo;
  byId("redo").disabled = !steps.canRedo;
  byId("clear").disabled = questions.isBlank(question);
  wanted = PAGE;
  search();
}

function search() {
  const asked = { ...question, picture: pictureOf(question.picture) };
  if (questions.canBeAsked(asked) && photos !== 0) {
    searching.soon(() => body());
    return;
  }
  searching.drop();
  names.learn([]);
  const start = question.unlikes.length ? "unlikes" : "start";
  results.clear(photos === 0 ? "empty" : start);
  where.follow(null);
}

function searchLive(stroke) {
  byId("hint").hidden = true;
  if (photos !== 0) searching.soon(() => body(stroke), true);
}

function body(live) {
  const picture = pictureOf(question.picture);
  return questions.toBody(question, { live, image: picture && base64Of(picture), k: wanted });
}

function addStroke(stroke) {
  if (question.strokes.length < questions.MOST_STROKES) setStrokes([...question.strokes, stroke]);
  else results.warn(`A drawing of ${questions.MOST_STROKES} strokes is as large as one can be.`);
}

function setStrokes(strokes) {
  if (strokes !== question.strokes) change({ strokes });
}

function addExample(kind, hit) {
  if (question[kind].length >= questions.MOST_EXAMPLES) {
    results.warn(`${questions.MOST_EXAMPLES} such photos are enough. Take one away first.`);
    return;
  }
  change(questions.withExample(question, kind, hit.id));
  say(kind === "likes" ? `Looking for more like ${hit.name}` : `Looking away from ${hit.name}`);
}

function addName(kind, name) {
  if (question[kind].length >= questions.MOST_NAMES) {
    results.warn(`${questions.MOST_NAMES} names are enough. Take one away first.`);
    return;
  }
  change(questions.withName(question, kind, name));
  say(kind === "named" ? `It is: ${name}` : `It is not: ${name}`);
}

function removePointed() {
  const at = pen.pointed >= 0 ? pen.pointed : hand.pointed;
  if (at < 0) say("Point at a stroke to erase it");
  else setStrokes(question.strokes.filter((_, i) => i !== at));
}

function switchRubber() {
  const on = byId("erase").ariaPressed !== "true";
  byId("erase").ariaPressed = String(on);
  sheet.classList.toggle("rubber", on);
  hand.rubber = on;
  say(on ? "Eraser: touch a stroke to erase it" : "Brush");
}

function clearAll() {
  if (!questions.isBlank(question)) change(questions.cleared(question));
}

function say(text) {
  results.say(text);
}

function refusalText(error) {
  if (error.status === 401) {
    return "This gallery asks for a token. Open the address that msedge serve printed.";
  }
  const rest = error.wait ? " Trying again." : "";
  return `The server could not answer: ${error.message}.${rest}`.replace(/\.\./, ".");
}

async function lookAtGallery() {
  try {
    const found = await gallery();
    const turned = (photos === 0) !== (found.photos === 0);
    const grows = photos !== null && found.photos !== photos;
    photos = found.photos;
    byId("gallery").textContent = galleryText(found);
    filters.offer(found.folders);
    where.offer(found.model.places);
    for (const name of document.querySelectorAll(".gallery-name")) name.textContent = found.name;
    // Photos that are shown stay as they are, unless there were too few to fill the grid.
    if (turned || (grows && results.answer && grid.hits.length < wanted)) search();
    clearTimeout(lookingAgain);
    if (photos === 0 || grows) lookingAgain = setTimeout(lookAtGallery, LOOK_AGAIN);
  } catch (error) {
    if (error instanceof ServerError) results.refuse(refusalText(error));
    else connection.lost();
  }
}

/** Have the steps that led to a drawing, so that undo works on one that came with the address. */
function retrace() {
  const { strokes } = fromFragment(location.hash).question;
  for (let i = 1; i <= strokes.length; i += 1) {
    steps.go({ ...unfiltered(questions.NOTHING), strokes: strokes.slice(0, i) });
  }
}

async function enter() {
  try {
    await startSession();
  } catch (error) {
    // 404: the server asks for no token. Silence: the questions below will tell.
    const tell = error instanceof ServerError && error.status !== 404;
    if (tell) results.refuse(refusalText(error));
  }
  visit();
  names.ask();
  lookAtGallery();
}

function travel({ state }) {
  if (takeToken()) enter();
  else if (location.hash !== shownHash()) visit();
  dialog.follow(state);
}

function shownHash() {
  const { fragment } = toFragment(question);
  return fragment ? `#${fragment}` : "";
}

function showMore() {
  wanted = Math.min(MOST, wanted + PAGE);
  search();
}

function start() {
  takeToken();
  startTheme(byId("theme"));
  startIntake({ took: (picture) => change({ picture }), failed: (text) => results.warn(text) });
  const acts = {
    undo: stepBack,
    redo: stepForward,
    erase: switchRubber,
    remove: removePointed,
    clear: clearAll,
    help: () => byId("help").showModal(),
  };
  listenForKeys(acts);
  for (const name of ["undo", "redo", "erase", "clear"]) {
    byId(name).addEventListener("click", acts[name]);
  }
  byId("open-help").addEventListener("click", acts.help);
  byId("download").addEventListener("click", () => download(results.answer, body()));
  byId("show-more").addEventListener("click", showMore);
  byId("no-filters").addEventListener("click", () => change({ filters: questions.NO_FILTERS }));
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address is the question's
    byId("grid").focus();
  });
  byId("error-close").addEventListener("click", () => results.forgive());
  window.addEventListener("popstate", travel);
  document.addEventListener("visibilitychange", () => document.hidden || lookAtGallery());
  retrace();
  enter();
}

start();
