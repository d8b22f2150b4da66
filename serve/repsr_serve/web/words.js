/** Numbers and names as people read them: pure functions. */

const ENDING_OF_MEDIA = { "image/png": "png", "image/jpeg": "jpg", "image/webp": "webp" };
const UNITS = ["B", "kB", "MB", "GB"];

/** `1536 × 1024`. */
export const size = ({ width, height }) => `${width} × ${height}`;

/** `2`, `1.5`: without zeros that say nothing. */
export const factor = (value) => String(Number(Number(value).toFixed(3)));

/** `0 %` to `100 %`. */
export const percent = (part) => `${Math.round(part * 100)} %`;

/** `840 B`, `1.6 MB`: decimal units, as file managers show them. */
export function bytes(count) {
  let [value, unit] = [count, 0];
  for (; value >= 999.5 && unit < UNITS.length - 1; unit += 1) value /= 1000;
  return `${unit > 0 && value < 9.95 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}`;
}

/** `16 megapixels`. */
export const megapixels = (count) => `${Number((count / 1e6).toPrecision(3))} megapixels`;

/** `0.4 s`, `12 s`, `2 min 5 s`. */
export function seconds(value) {
  if (value < 9.95) return `${value.toFixed(1)} s`;
  const whole = Math.round(value);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/** Name of the result's file: `photo.jpeg` becomes `photo-x2.png`. A pasted picture has no name of its own. */
export function resultName(name, enlargement, mediaType) {
  const stem = name.replace(/\.[^.]*$/, "") || "picture";
  return `${stem}-x${factor(enlargement)}.${ENDING_OF_MEDIA[mediaType] ?? "png"}`;
}
