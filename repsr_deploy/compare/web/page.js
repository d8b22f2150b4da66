/** The page of a comparison: pictures that are there from the start, a slider and buttons for the viewer. */

import { Viewer } from "./viewer.js";

const at = Object.fromEntries([...document.querySelectorAll("[id]")].map((element) => [element.id, element]));
const picture = { width: Number(at.after.getAttribute("width")), height: Number(at.after.getAttribute("height")) };
const viewer = new Viewer({ ...at, onView: showZoom, onDivide: showPart });
const [result, difference] = [at.after.src, at.after.dataset.difference];

function showZoom(zoom, { isFitted, isLeast, isMost }) {
  at.zoom.value = `${Math.round(zoom * 100)} %`;
  // not `disabled`, which would take the focus from the button that was just pressed
  at.fit.ariaDisabled = isFitted;
  at.smaller.ariaDisabled = isLeast;
  at.larger.ariaDisabled = isMost;
}

function showPart(part) {
  const shown = Math.round(part * 100);
  at.part.value = shown;
  at.part.setAttribute("aria-valuetext", `${shown} % original, ${100 - shown} % result`);
}

function showPixels(isOn) {
  at.pixels.checked = viewer.pixelated = isOn;
}

/** Four device pixels for one, as squares. */
function showSquares() {
  showPixels(true);
  viewer.zoomTo(4);
}

function showDifference() {
  const isOn = at.different.checked;
  at.after.src = isOn ? difference : result;
  at.after.alt = at.maker.textContent = isOn ? "Difference" : "Result";
  at.legend.hidden = !isOn;
}

at.part.addEventListener("input", () => viewer.divide(at.part.value / 100));
at.smaller.addEventListener("click", () => viewer.step(-1));
at.larger.addEventListener("click", () => viewer.step(1));
at.fit.addEventListener("click", () => viewer.fit());
at.exact.addEventListener("click", () => viewer.zoomTo(1));
at.squares.addEventListener("click", showSquares);
at.pixels.addEventListener("change", () => showPixels(at.pixels.checked));
at.different.addEventListener("change", showDifference);
document.addEventListener("keydown", ({ key, ctrlKey, metaKey, altKey }) => {
  if (key === "4" && !ctrlKey && !metaKey && !altKey) showSquares();
});

viewer.showResult(at.before.src, result, picture);
