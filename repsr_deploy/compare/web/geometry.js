/**
 * Where a picture lies in the stage: pure functions.
 *
 * A box is {width, height}. A view is {zoom, x, y}: stage pixels per picture pixel, and where the picture's top left
 * corner lies in the stage. All of one view is in device pixels, so that zoom 1 shows every pixel once.
 */

export const MOST_ZOOM = 16;

/** Zoom at which the whole picture is seen, as large as the stage allows. */
export const fittingZoom = (stage, picture) =>
  Math.min(stage.width / picture.width, stage.height / picture.height, MOST_ZOOM);

/** Zoom below which nothing more would be seen. */
export const leastZoom = (stage, picture) => Math.min(1, fittingZoom(stage, picture));

/** The view of the whole picture. */
export const fitted = (stage, picture) => held({ zoom: fittingZoom(stage, picture), x: 0, y: 0 }, stage, picture);

/** A view with another zoom, in which `point` of the stage shows the same part of the picture. */
export function zoomed(view, zoom, point) {
  const ratio = zoom / view.zoom;
  return { zoom, x: point.x - (point.x - view.x) * ratio, y: point.y - (point.y - view.y) * ratio };
}

/** The nearest view that wastes nothing: zoom within its limits, no gap beside a picture that could fill the stage. */
export function held(view, stage, picture) {
  const zoom = Math.min(Math.max(view.zoom, leastZoom(stage, picture)), MOST_ZOOM);
  const moved = zoom === view.zoom ? view : zoomed(view, zoom, { x: stage.width / 2, y: stage.height / 2 });
  return {
    zoom,
    x: heldAlong(moved.x, stage.width, picture.width * zoom),
    y: heldAlong(moved.y, stage.height, picture.height * zoom),
  };
}

/** Whole device pixels: a picture at zoom 1 is then not blurred by half a pixel. */
function heldAlong(start, room, length) {
  if (length <= room) return Math.round((room - length) / 2);
  return Math.round(Math.min(0, Math.max(room - length, start)));
}

/** The next step of the zoom buttons, in or out: powers of two, so that every pixel becomes equally large. */
export function nextZoom(zoom, direction) {
  const step = Math.log2(zoom);
  return 2 ** (direction > 0 ? Math.floor(step + 1 + 1e-6) : Math.ceil(step - 1 - 1e-6));
}

/** What of the stage the picture covers from left to right: [start, end]. */
export const covered = (view, stage, picture) => [
  Math.max(0, view.x),
  Math.min(stage.width, view.x + picture.width * view.zoom),
];
