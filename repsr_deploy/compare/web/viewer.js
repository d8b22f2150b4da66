/** The stage: original and result at the same place, a divider between them, zoom and pan. */

import { MOST_ZOOM, covered, fitted, held, leastZoom, nextZoom, zoomed } from "./geometry.js";

const DIVIDER_STEPS = {
  ArrowLeft: -0.02,
  ArrowDown: -0.02,
  ArrowRight: 0.02,
  ArrowUp: 0.02,
  PageDown: -0.1,
  PageUp: 0.1,
  Home: -1,
  End: 1,
};
const PAN_STEPS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
const PAN_STEP_CSS_PX = 60;
/** Movement, in CSS pixels, that makes a drag of a click. */
const DRAG_CSS_PX = 4;
const SWEEP_MS = 900;

export class Viewer {
  /** The picture's size in pixels of the result; null while there is none. */
  #picture = null;
  #view = { zoom: 1, x: 0, y: 0 };
  #isFitted = true;
  /** Part of the picture that is seen which is original, 0 to 1. */
  #divided = 1;
  #sweep = 0;
  /** Pointers that are down: id to {x, y}. */
  #pointers = new Map();
  /** What they do: null, "divide", "maybe-divide" until it has moved, "pan", "pinch". */
  #gesture = null;

  /**
   * @param {{
   *   onView: (zoom: number, is: {isFitted: boolean, isLeast: boolean, isMost: boolean}) => void,
   *   onDivide?: (part: number) => void,
   * }} parts
   */
  constructor({ stage, before, after, divider, onView, onDivide = () => {} }) {
    Object.assign(this, { stage, before, after, divider, onView, onDivide });
    new ResizeObserver(() => this.#place(this.#isFitted ? null : this.#view)).observe(stage);
    stage.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    stage.addEventListener("pointerdown", (event) => this.#down(event));
    stage.addEventListener("pointermove", (event) => this.#move(event));
    for (const kind of ["pointerup", "pointercancel"]) stage.addEventListener(kind, (event) => this.#up(event));
    stage.addEventListener("dblclick", (event) => this.#doubleClick(event));
    stage.addEventListener("dragstart", (event) => event.preventDefault());
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Show an original alone, in the size that its result is going to have. */
  showOriginal(original, picture) {
    this.clear();
    this.before.src = original;
    this.#picture = picture;
    this.#place(null);
  }

  /** Show a result beside it: the divider comes in from the right, unless motion is unwanted. */
  showResult(original, result, picture) {
    this.before.src = original;
    this.after.src = result;
    const isSame = this.#picture?.width === picture.width && this.#picture.height === picture.height;
    this.#picture = picture;
    this.#place(isSame && !this.#isFitted ? this.#view : null);
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) this.divide(0.5);
    else this.#sweepIn();
  }

  /** Let go of both pictures. */
  clear() {
    cancelAnimationFrame(this.#sweep);
    for (const image of [this.before, this.after]) image.removeAttribute("src");
    this.#picture = null;
    this.#pointers.clear();
    this.#gesture = null;
    this.divide(1);
  }

  /** Move the divider. @param {number} part  of what is seen, 0 to 1, that is to be original */
  divide(part) {
    cancelAnimationFrame(this.#sweep);
    this.#divideAt(part);
  }

  /** See the whole picture. */
  fit() {
    this.#place(null);
  }

  /** One step in (1) or out (-1), around the middle. */
  step(direction) {
    this.zoomTo(nextZoom(this.#view.zoom, direction));
  }

  /** @param {number} zoom  device pixels per pixel of the result */
  zoomTo(zoom, point = this.#middle) {
    if (this.#picture) this.#place(zoomed(this.#view, zoom, point));
  }

  /** Show pixels as squares, or smoothly. */
  set pixelated(on) {
    this.stage.classList.toggle("pixelated", on);
  }

  // ---- placing ---------------------------------------------------------------------------------------------------

  /** The stage in device pixels. */
  get #room() {
    const { clientWidth, clientHeight } = this.stage;
    return { width: clientWidth * devicePixelRatio, height: clientHeight * devicePixelRatio };
  }

  get #middle() {
    const { width, height } = this.#room;
    return { x: width / 2, y: height / 2 };
  }

  get #canPan() {
    const { width, height } = this.#room;
    const { zoom } = this.#view;
    return this.#picture.width * zoom > width + 1 || this.#picture.height * zoom > height + 1;
  }

  get #isLeast() {
    return this.#view.zoom <= leastZoom(this.#room, this.#picture);
  }

  /** Take a view, or the nearest that is possible; null for the whole picture. */
  #place(view) {
    const room = this.#room;
    if (!this.#picture || room.width === 0) return;
    const whole = fitted(room, this.#picture);
    this.#view = view === null ? whole : held(view, room, this.#picture);
    this.#isFitted = this.#view.zoom === whole.zoom;
    const { zoom, x, y } = this.#view;
    for (const { style } of [this.before, this.after]) {
      style.width = `${this.#picture.width}px`;
      style.height = `${this.#picture.height}px`;
      style.transform = `translate(${x / devicePixelRatio}px, ${y / devicePixelRatio}px) scale(${zoom / devicePixelRatio})`;
    }
    this.stage.classList.toggle("pannable", this.#canPan);
    this.#divideAt(this.#divided);
    this.onView(zoom, { isFitted: this.#isFitted, isLeast: this.#isLeast, isMost: zoom >= MOST_ZOOM });
  }

  #divideAt(part) {
    this.#divided = Math.min(1, Math.max(0, part));
    const shown = Math.round(this.#divided * 100);
    this.divider.setAttribute("aria-valuenow", String(shown));
    this.divider.setAttribute("aria-valuetext", `${shown} % original, ${100 - shown} % result`);
    this.onDivide(this.#divided);
    if (!this.#picture) return;
    const [start, end] = covered(this.#view, this.#room, this.#picture);
    const x = Math.round(start + this.#divided * (end - start)) / devicePixelRatio;
    this.before.parentElement.style.clipPath = `inset(0 calc(100% - ${x}px) 0 0)`;
    this.after.parentElement.style.clipPath = `inset(0 0 0 ${x}px)`;
    this.divider.style.transform = `translateX(${x}px)`;
  }

  #sweepIn() {
    const began = performance.now();
    const frame = (now) => {
      const part = Math.min(1, (now - began) / SWEEP_MS);
      this.#divideAt(1 - 0.5 * (1 - (1 - part) ** 3));
      if (part < 1) this.#sweep = requestAnimationFrame(frame);
    };
    this.divide(1);
    this.#sweep = requestAnimationFrame(frame);
  }

  // ---- mouse, pen, fingers ---------------------------------------------------------------------------------------

  /** A pointer's place in the stage, device pixels. */
  #at({ clientX, clientY }) {
    const { left, top } = this.stage.getBoundingClientRect();
    return { x: (clientX - left) * devicePixelRatio, y: (clientY - top) * devicePixelRatio };
  }

  #divideTo(x) {
    const [start, end] = covered(this.#view, this.#room, this.#picture);
    this.divide((x - start) / (end - start));
  }

  #down(event) {
    if (!this.#picture || event.button !== 0) return;
    this.stage.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, this.#at(event));
    const isComplete = !this.divider.hidden;
    if (this.#pointers.size === 2) this.#gesture = "pinch";
    else if (isComplete && this.divider.contains(event.target)) this.#gesture = "divide";
    else if (this.#canPan) this.#gesture = "pan";
    else this.#gesture = isComplete ? "maybe-divide" : null;
  }

  #move(event) {
    const from = this.#pointers.get(event.pointerId);
    if (!from) return;
    const to = this.#at(event);
    if (this.#gesture === "maybe-divide") {
      if (Math.abs(to.x - from.x) < DRAG_CSS_PX * devicePixelRatio) return;
      this.#gesture = "divide";
    }
    if (this.#gesture === "pinch") this.#pinch(event.pointerId, from, to);
    else if (this.#gesture === "divide") this.#divideTo(to.x);
    else if (this.#gesture === "pan") this.#pan(to.x - from.x, to.y - from.y);
    this.#pointers.set(event.pointerId, to);
  }

  #up(event) {
    this.#pointers.delete(event.pointerId);
    // the finger that stays after a pinch goes on moving the picture
    this.#gesture = this.#pointers.size === 1 && this.#canPan ? "pan" : null;
  }

  #pinch(id, from, to) {
    const [other] = [...this.#pointers].filter(([each]) => each !== id).map(([, point]) => point);
    const apart = (point) => Math.max(1, Math.hypot(point.x - other.x, point.y - other.y));
    const between = (point) => ({ x: (point.x + other.x) / 2, y: (point.y + other.y) / 2 });
    const view = zoomed(this.#view, (this.#view.zoom * apart(to)) / apart(from), between(from));
    const [before, after] = [between(from), between(to)];
    this.#place({ ...view, x: view.x + after.x - before.x, y: view.y + after.y - before.y });
  }

  #pan(dx, dy) {
    this.#place({ ...this.#view, x: this.#view.x + dx, y: this.#view.y + dy });
  }

  #wheel(event) {
    // where it cannot get smaller the page may scroll, as it does outside
    if (!this.#picture || (event.deltaY > 0 && this.#isLeast && !event.ctrlKey)) return;
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 33 : 1);
    // a pinch on a touchpad comes as a wheel with Ctrl, in small numbers
    this.zoomTo(this.#view.zoom * Math.exp(-pixels * (event.ctrlKey ? 0.01 : 0.002)), this.#at(event));
  }

  #doubleClick(event) {
    if (!this.#picture || this.divider.contains(event.target)) return;
    if (this.#isFitted) this.zoomTo(Math.max(1, nextZoom(this.#view.zoom, 1)), this.#at(event));
    else this.fit();
  }

  // ---- keyboard --------------------------------------------------------------------------------------------------

  #key(event) {
    const { key, target } = event;
    if (!this.#picture || event.ctrlKey || event.metaKey || event.altKey || target.closest("form")) return;
    if (target === this.divider && key in DIVIDER_STEPS) this.divide(this.#divided + DIVIDER_STEPS[key]);
    else if (target === this.stage && key in PAN_STEPS) {
      this.#pan(...PAN_STEPS[key].map((step) => step * PAN_STEP_CSS_PX * devicePixelRatio));
    } else if (key === "+" || key === "=") this.step(1);
    else if (key === "-") this.step(-1);
    else if (key === "0") this.fit();
    else if (key === "1") this.zoomTo(1);
    else return;
    event.preventDefault();
  }
}
