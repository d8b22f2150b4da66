/** The page: what is seen when, and one picture's way from the file to the download. */

import * as api from "./api.js";
import { Settings } from "./settings.js";
import { Viewer } from "./viewer.js";
import * as words from "./words.js";

/** Above it, browsers run out of memory (4 bytes a pixel) or refuse. */
const MOST_PIXELS_SHOWN = 120e6;

const at = Object.fromEntries([...document.querySelectorAll("[id]")].map((element) => [element.id, element]));
const settings = new Settings(at.order, { onChange: offerAgain });
const viewer = new Viewer({ ...at, onView: showZoom });

/** What is under way or shown: the file, the order, the job on the server, addresses of files, and how to stop it. */
let current = null;
/** What the server takes, once it is known. */
let limits = { max_bytes: Infinity };
/** What "Try again" does. */
let again = null;

// ---- what is seen --------------------------------------------------------------------------------------------------

/**
 * @param {"empty" | "working" | "done" | "failed"} state
 * @param {HTMLElement} next  gets the focus, where what had it disappears: nobody is thrown to the top of the page
 */
function show(state, next) {
  document.body.dataset.state = state;
  for (const element of document.querySelectorAll("[data-when]")) {
    element.hidden = !element.dataset.when.split(" ").includes(state);
  }
  if (state !== "failed") {
    at.problem.replaceChildren();
    at.retry.hidden = true;
  }
  offerAgain();
  const focused = document.activeElement;
  if (focused === document.body || focused.closest("[hidden]")) next.focus();
}

/** Say what is done now. A screen reader hears every stage once, not every step of it. */
function doing(stage, { part = null, more = part === null ? "" : words.percent(part) } = {}) {
  at.doing.textContent = more ? `${stage} · ${more}` : stage;
  if (part === null) at.bar.removeAttribute("value");
  else at.bar.value = part;
  if (at.status.textContent !== stage) at.status.textContent = stage;
}

function showProblem(error, retry) {
  const isKnown = error instanceof api.Refusal;
  if (!isKnown) console.error(error);
  const heading = document.createElement("h2");
  heading.textContent = isKnown ? error.title : "This page failed";
  const text = document.createElement("p");
  text.textContent = isKnown ? error.detail : `${error}. Reload the page and try again.`;
  at.problem.replaceChildren(heading, text);
  at.status.textContent = "";
  again = retry;
  at.retry.hidden = isKnown && error.isFinal;
  show("failed", at.retry.hidden ? at.file : at.retry);
}

function showZoom(zoom, { isFitted, isLeast, isMost }) {
  at.zoom.value = words.percent(zoom);
  // not `disabled`, which would take the focus from the button that was just pressed
  at.fit.ariaDisabled = isFitted;
  at.smaller.ariaDisabled = isLeast;
  at.larger.ariaDisabled = isMost;
}

/** Once another picture would come of it. */
function offerAgain() {
  const isSame = JSON.stringify(settings.order) === JSON.stringify(current?.order);
  at.again.hidden = document.body.dataset.state !== "done" || isSame;
}

// ---- one picture's way ---------------------------------------------------------------------------------------------

/** Enlarge a picture, from the file to the result on the page. */
async function enlarge(file) {
  letGo();
  const control = new AbortController();
  const work = { file, order: settings.order, job: null, addresses: [], control };
  current = work;
  at.stage.hidden = false;
  show("working", at.cancel);
  try {
    const original = address(work, file);
    showOriginal(work, original);
    const picture = await make(work);
    const url = address(work, picture);
    const size = await measured(url);
    control.signal.throwIfAborted();
    showResult(work, picture, url, size);
  } catch (error) {
    if (control.signal.aborted) return; // whoever stopped it says what is seen next
    letGo();
    showProblem(error, () => enlarge(file));
  }
}

/** Send, wait, fetch. @returns {Promise<Blob>} the result's file */
async function make(work) {
  const { signal } = work.control;
  if (work.file.size > limits.max_bytes) throw tooLarge(work.file);
  doing("Sending", { part: 0 });
  work.job = await api.submit(work.file, work.order, {
    signal,
    onProgress: (part) => (part < 1 ? doing("Sending", { part }) : doing("Being checked")),
    onWait: (seconds) => doing("The server is busy", { more: `trying again in ${seconds} s` }),
  });
  work.job = await api.follow(work.job, {
    signal,
    onChange: ({ state, progress, position }) =>
      state === "waiting"
        ? doing("Waiting for its turn", { more: position > 1 ? `${position - 1} before it` : "" })
        : doing("Enlarging", { part: progress }),
  });
  doing("Fetching the result", { part: 0 });
  return api.result(work.job.id, { signal, onProgress: (part) => doing("Fetching the result", { part }) });
}

/** What the server would say, without sending it all first. */
const tooLarge = ({ size }) =>
  new api.Refusal({
    title: "The file is too large",
    detail: `It has ${words.bytes(size)}; this server takes ${words.bytes(limits.max_bytes)} at most.`,
    isFinal: true,
  });

/** Show the original while it is worked on, if the browser can. */
async function showOriginal({ order, control }, url) {
  const size = await measured(url);
  if (control.signal.aborted || document.body.dataset.state !== "working" || !canShow(size)) return;
  const scale = Number(order.scale) || 1;
  viewer.showOriginal(url, { width: Math.round(size.width * scale), height: Math.round(size.height * scale) });
}

function showResult(work, picture, url, size) {
  const { file, job } = work;
  const { model, scale, source, started, finished } = job;
  at.download.href = url;
  at.download.download = words.resultName(file.name, scale, picture.type);
  at.maker.textContent = `${model} · ${words.factor(scale)}×`;
  at.facts.textContent = [
    `${words.size(source)} → ${words.size(job)} pixels`,
    words.seconds((new Date(finished) - new Date(started)) / 1000),
    `${job.format.toUpperCase()}, ${words.bytes(picture.size)}`,
  ].join(" · ");
  const isShown = canShow(size);
  at.stage.hidden = at.tools.hidden = !isShown;
  show("done", isShown ? at.divider : at.download);
  at.unseen.hidden = isShown;
  if (isShown) viewer.showResult(work.addresses[0], url, size);
  at.status.textContent = `Done: ${at.facts.textContent}`;
  forget(work); // everything of it is here
}

/** Width and height of a picture's file, which is not decoded for it; null where the browser cannot read it. */
function measured(url) {
  return new Promise((resolve) => {
    const image = new Image();
    image.onload = () => resolve({ width: image.naturalWidth, height: image.naturalHeight });
    image.onerror = () => resolve(null);
    image.src = url;
  });
}

const canShow = (size) => size !== null && size.width * size.height <= MOST_PIXELS_SHOWN;

function address(work, blob) {
  const url = URL.createObjectURL(blob);
  work.addresses.push(url);
  return url;
}

/** Delete it from the server: nobody else is going to. */
function forget(work) {
  if (work.job) api.forget(work.job.id);
  work.job = null;
}

/** Stop what is under way, and give back what is shown. */
function letGo() {
  if (!current) return;
  current.control.abort();
  forget(current);
  viewer.clear();
  at.download.removeAttribute("href");
  current.addresses.forEach((url) => URL.revokeObjectURL(url));
  current = null;
}

// ---- what people do ------------------------------------------------------------------------------------------------

async function start() {
  show("empty", document.body);
  try {
    const served = await api.served();
    settings.offer(served);
    limits = served.limits;
    at.limits.textContent = `up to ${words.bytes(limits.max_bytes)} and ${words.megapixels(limits.max_job_pixels)}`;
  } catch (error) {
    showProblem(error, start);
  }
}

function take(files) {
  if (files.length > 0) enlarge(files[0]);
}

const hasFiles = ({ dataTransfer }) => dataTransfer !== null && [...dataTransfer.types].includes("Files");
const choose = () => at.file.click();

at.file.addEventListener("change", () => {
  take(at.file.files);
  at.file.value = ""; // so that the same file can be chosen again
});
at.another.addEventListener("click", choose);
at.retry.addEventListener("click", () => again());
at.cancel.addEventListener("click", () => {
  letGo();
  show("empty", at.file);
  at.status.textContent = "Cancelled";
});
at.order.addEventListener("submit", (event) => {
  event.preventDefault();
  if (document.body.dataset.state === "failed") again();
  else if (current) enlarge(current.file);
});

at.smaller.addEventListener("click", () => viewer.step(-1));
at.larger.addEventListener("click", () => viewer.step(1));
at.fit.addEventListener("click", () => viewer.fit());
at.exact.addEventListener("click", () => viewer.zoomTo(1));
at.pixels.addEventListener("change", () => {
  viewer.pixelated = at.pixels.checked;
});

document.addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  document.body.classList.add("dropping");
});
document.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) document.body.classList.remove("dropping");
});
document.addEventListener("drop", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  document.body.classList.remove("dropping");
  take(event.dataTransfer.files);
});
document.addEventListener("paste", (event) => take(event.clipboardData.files));
addEventListener("pagehide", () => current && forget(current));

start();
