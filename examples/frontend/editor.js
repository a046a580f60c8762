/**
 * The form that edits a task in its row of the list. It loses no draft silently, and saves only the
 * fields that were changed here.
 *
 * @import { ApiError, Task, TaskFields } from "./taskflow.js"
 * @import { Tasks } from "./tasks.js"
 */

import { copyOf, onSubmit } from "./page.js";
import { dueDateOf, dueOf } from "./tasks.js";

const STALE =
  "This task has changed elsewhere. Saving keeps those changes, except in fields that you changed.";
const GONE = "This task was deleted elsewhere.";
const UNSAVED = "Your changes are not saved yet.";

export class Editor {
  form = copyOf("editor");
  #alert = this.form.querySelector("[role=alert]");

  /**
   * @param {() => Tasks} tasks @param {Task} task @param {number} place of its row in the list
   * @param {() => void} onClose
   */
  constructor(tasks, task, place, onClose) {
    this.tasks = tasks;
    this.task = task;
    this.id = task.id;
    this.place = place;
    this.onClose = onClose;
    this.#fill(task);
    onSubmit(this.form, () => this.#save(), { dueDate: "day" });
    this.form.addEventListener("click", (/** @type {any} */ { target }) => this.#act(target));
    this.form.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Escape") this.#act(this.#button("cancel"));
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.form.requestSubmit();
    });
  }

  focus() {
    this.form.elements.title.focus();
  }

  isDirty() {
    return Object.keys(this.#changes()).length > 0;
  }

  /** Ask whether to discard the draft. */
  warn() {
    this.#alert.textContent = UNSAVED;
    this.#button("discard").hidden = false;
    this.#button("discard").focus();
  }

  /** Show that the task was changed or deleted elsewhere. */
  follow() {
    const current = this.tasks().get(this.id);
    if (current?.version === this.task.version) return;
    if (!current) this.#alert.textContent = GONE;
    else if (this.isDirty()) this.#alert.textContent = STALE;
    else this.#fill(current); // there is no draft that could be lost
    this.#button("current").hidden = !current || current.version === this.task.version;
  }

  #fill(/** @type {Task} */ task) {
    this.task = task;
    const { day, time } = dueOf(task);
    const tags = task.tags.join(", ");
    const values = { ...task, day, time, tags, description: task.description ?? "" };
    for (const input of this.form.elements) {
      if (input.name) input.value = values[/** @type {keyof typeof values} */ (input.name)];
    }
    this.before = this.#fields();
    this.#alert.textContent = "";
    for (const act of ["discard", "current"]) this.#button(act).hidden = true;
  }

  /** @returns {TaskFields} */
  #fields() {
    const { day, time, ...rest } = /** @type {any} */ (Object.fromEntries(new FormData(this.form)));
    const tags = rest.tags.split(",").map((/** @type {string} */ tag) => tag.trim());
    const dueDate = dueDateOf(day, time);
    return { ...rest, description: rest.description || null, tags: tags.filter(Boolean), dueDate };
  }

  #changes() {
    const before = /** @type {any} */ (this.before);
    const differs = (/** @type {[string, unknown]} */ [name, value]) =>
      JSON.stringify(value) !== JSON.stringify(before[name]);
    return Object.fromEntries(Object.entries(this.#fields()).filter(differs));
  }

  #button(/** @type {string} */ act) {
    return this.form.querySelector(`[data-act=${act}]`);
  }

  #act(/** @type {HTMLElement} */ target) {
    const act = target.dataset.act;
    const current = this.tasks().get(this.id);
    if (act === "discard" || (act === "cancel" && !this.isDirty())) return this.onClose();
    if (act === "current" && current) this.#fill(current);
    if (act === "cancel" && this.#button("discard").hidden) return this.warn();
    if (act === "cancel") this.#button("discard").hidden = true;
    if (act === "cancel" || act === "current") this.focus();
  }

  async #save() {
    const changes = this.#changes();
    if (Object.keys(changes).length) {
      // Once the form has reported a newer version, the user saves on top of that version.
      const told = !this.#button("current").hidden;
      const version = told ? this.tasks().get(this.id)?.version : this.task.version;
      try {
        await this.tasks().save({ id: this.id, version }, changes);
      } catch (error) {
        if (/** @type {ApiError} */ (error).code !== "precondition_failed") throw error;
        this.#alert.textContent = STALE;
        this.tasks()
          .sync()
          .catch(() => {}); // reads the newer version, which `follow` then reports
        return;
      }
    }
    this.onClose();
  }
}
