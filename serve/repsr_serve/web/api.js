/** What the page asks of the server, in one transport: XMLHttpRequest, which alone tells how far an upload is. */

/** How often the page asks until it gives up: before a picture is sent, and while a job may be lost otherwise. */
const [ATTEMPTS, JOB_ATTEMPTS] = [5, 20];
/** Longest Retry-After, in seconds, that the page waits for by itself. */
const PATIENCE_S = 60;
/** When to ask again what may be asked twice, where nobody says when. */
const GET_RETRY_S = 1;
/** How long one look at a job may take, and the pause after it: a job may change with every tile. */
const [POLL_S, PAUSE_S] = [10, 0.1];

// the page's own address may hold a name and a key (http://user:key@host/), which requests must not repeat
const base = new URL(document.baseURI);
base.username = base.password = "";

const TITLES = {
  401: "The server asks for a key",
  403: "Not allowed",
  404: "Not found",
  408: "The upload was too slow",
  410: "No longer there",
  413: "The picture is too large",
  415: "This is no picture that can be read",
  422: "This picture cannot be enlarged",
  429: "Too many pictures at once",
  503: "The server is busy",
};

const ABOUT_THE_PICTURE = ["unknown-format", "damaged", "too-many-bytes", "too-many-pixels"].map(
  (cause) => `urn:repsr:problem:${cause}`,
);

/** Why something was not done, in words for people. */
export class Refusal extends Error {
  /**
   * @param {{title: string, detail: string, retryAfterS?: number | null, isFinal?: boolean}} why
   *   retryAfterS: seconds after which the page itself may ask again; null where it should not.
   *   isFinal: the picture is the cause, so that only another one helps.
   */
  constructor({ title, detail, retryAfterS = null, isFinal = false }) {
    super(detail);
    this.title = title;
    this.detail = detail;
    this.retryAfterS = retryAfterS;
    this.isFinal = isFinal;
  }

  /** Of a problem document (RFC 9457), wherever it comes from. */
  static ofProblem(problem, retryAfterS = null) {
    return new Refusal({
      title: TITLES[problem.status] ?? "That did not work",
      detail: sentence(problem.detail ?? problem.title ?? "The server did not say why."),
      retryAfterS,
      isFinal: ABOUT_THE_PICTURE.includes(problem.type),
    });
  }
}

/** What is served: {models: [{name, scale}], limits: {max_bytes, max_job_pixels, max_factor}}. */
export const served = () => patiently(() => json("GET", "v1/models"));

/**
 * Hand a picture over; resolves to the job's document.
 *
 * @param {Blob} picture
 * @param {Record<string, string>} order  model, scale, format, quality
 * @param {{signal: AbortSignal, onProgress: (part: number) => void, onWait: (secondsLeft: number) => void}} options
 */
export const submit = (picture, order, { signal, onProgress, onWait }) =>
  patiently(() => json("POST", "v1/jobs", { query: order, body: picture, signal, onUpload: onProgress }), {
    signal,
    onWait,
  });

/** Wait until a job is done; resolves to its last document, and throws a Refusal where it failed. */
export async function follow(job, { signal, onChange }) {
  while (job.state === "waiting" || job.state === "running") {
    onChange(job);
    const { id } = job;
    const look = () => json("GET", `v1/jobs/${id}`, { query: { wait: POLL_S }, signal });
    job = await patiently(look, { signal, attempts: JOB_ATTEMPTS });
    await pause(PAUSE_S, signal);
  }
  if (job.state === "done") return job;
  throw Refusal.ofProblem(job.error ?? { detail: `The server gave the picture up (${job.state}).` });
}

/** The picture that a job made. */
export const result = (id, { signal, onProgress }) =>
  patiently(() => request("GET", `v1/jobs/${id}/result`, { signal, onDownload: onProgress }), {
    signal,
    attempts: JOB_ATTEMPTS,
  });

/** Have a job stopped and everything of it deleted; also while the page is being left. */
export function forget(id) {
  fetch(new URL(`v1/jobs/${id}`, base), { method: "DELETE", keepalive: true }).catch(() => {
    // the server deletes what nobody asks for by itself, later
  });
}

/** Try again, as often and as late as the server says; a few times. */
async function patiently(send, { signal, attempts = ATTEMPTS, onWait = () => {} } = {}) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await send();
    } catch (error) {
      const wait = error instanceof Refusal ? error.retryAfterS : null;
      if (wait === null || wait > PATIENCE_S || attempt === attempts) throw error;
      for (let left = wait; left > 0; left -= 1) {
        onWait(left);
        await pause(Math.min(1, left), signal);
      }
    }
  }
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, seconds * 1000);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

async function json(method, path, options) {
  return JSON.parse(await (await request(method, path, options)).text());
}

/** One request; resolves to the answer's body as a Blob, which the browser keeps on disk when it is large. */
function request(method, path, { query = {}, body = null, signal, onUpload, onDownload } = {}) {
  const url = new URL(path, base);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const xhr = new XMLHttpRequest();
    const stop = () => xhr.abort();
    xhr.open(method, url);
    xhr.responseType = "blob";
    // what it is, the server finds out from the content
    if (body !== null) xhr.setRequestHeader("Content-Type", "application/octet-stream");
    if (onUpload) xhr.upload.addEventListener("progress", reporting(onUpload));
    if (onDownload) xhr.addEventListener("progress", reporting(onDownload));
    xhr.addEventListener("load", async () => {
      if (xhr.status >= 200 && xhr.status < 300) resolve(xhr.response);
      else reject(await refusalOf(xhr, method));
    });
    xhr.addEventListener("error", () => reject(broken(method)));
    xhr.addEventListener("abort", () => reject(signal?.reason ?? broken(method)));
    xhr.addEventListener("loadend", () => signal?.removeEventListener("abort", stop));
    signal?.addEventListener("abort", stop, { once: true });
    xhr.send(body);
  });
}

const reporting = (onProgress) => (event) => {
  if (event.lengthComputable && event.total > 0) onProgress(event.loaded / event.total);
};

async function refusalOf(xhr, method) {
  const after = xhr.getResponseHeader("Retry-After") ?? "";
  const isPassing = method === "GET" && [502, 503, 504].includes(xhr.status); // of a proxy whose service starts again
  const retryAfterS = /^\d+$/.test(after) ? Number(after) : isPassing ? GET_RETRY_S : null;
  const problem = await xhr.response
    .text()
    .then(JSON.parse)
    .catch(() => ({ detail: `The server answered ${xhr.status} ${xhr.statusText}` })); // a proxy's own words
  return Refusal.ofProblem({ ...problem, status: xhr.status }, retryAfterS);
}

/** A connection that broke. Asking a second time does no harm, sending a second time might. */
const broken = (method) =>
  new Refusal({
    title: "The server cannot be reached",
    detail:
      method === "POST"
        ? "The connection broke while the picture was sent, or the file changed meanwhile. Try again."
        : "The connection broke. See whether the server still runs, and try again.",
    retryAfterS: method === "GET" ? GET_RETRY_S : null,
  });

const sentence = (text) => {
  const trimmed = text.trim();
  return trimmed.charAt(0).toUpperCase() + trimmed.slice(1) + (/[.!?]$/.test(trimmed) ? "" : ".");
};
