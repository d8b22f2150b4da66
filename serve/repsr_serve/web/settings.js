/** The form: which model, scale, format and quality. */

import * as words from "./words.js";

const MODEL_KEPT_AS = "model";

export class Settings {
  /** Scale of every model, by name. */
  #scales = new Map();

  /**
   * @param {HTMLFormElement} form  with the controls model, scale, format, quality
   * @param {{onChange: () => void}} options
   */
  constructor(form, { onChange }) {
    this.controls = form.elements;
    const { model, quality } = this.controls;
    model.addEventListener("change", () => {
      keep(model.value);
      this.#takeScale();
    });
    quality.addEventListener("input", () => this.#showQuality());
    for (const kind of ["input", "change"]) {
      form.addEventListener(kind, () => {
        quality.disabled = !this.#hasQuality;
        onChange();
      });
    }
    this.#showQuality();
  }

  /** Take over what is served; the model that was chosen last time is chosen again. */
  offer({ models, limits }) {
    const { model, scale: factor } = this.controls;
    this.#scales = new Map(models.map(({ name, scale }) => [name, scale]));
    model.replaceChildren(...models.map(({ name, scale }) => new Option(`${name} · ${words.factor(scale)}×`, name)));
    factor.max = limits.max_factor;
    if (this.#scales.has(kept())) model.value = kept();
    this.#takeScale();
  }

  /** @returns {Record<string, string>} what the server is asked for; what is not said, it decides */
  get order() {
    const { model, scale, format, quality } = this.controls;
    const order = { model: model.value, scale: scale.value, format: format.value };
    if (this.#hasQuality) order.quality = quality.value;
    return Object.fromEntries(Object.entries(order).filter(([, value]) => value !== ""));
  }

  get #hasQuality() {
    return this.controls.format.value !== "png"; // loses nothing
  }

  #takeScale() {
    const { model, scale } = this.controls;
    if (this.#scales.has(model.value)) scale.value = words.factor(this.#scales.get(model.value));
  }

  #showQuality() {
    const { quality } = this.controls;
    quality.nextElementSibling.value = quality.value;
  }
}

function kept() {
  try {
    return localStorage.getItem(MODEL_KEPT_AS);
  } catch {
    return null; // storage is switched off: the choice lasts as long as the page
  }
}

function keep(model) {
  try {
    localStorage.setItem(MODEL_KEPT_AS, model);
  } catch {
    // as above
  }
}
