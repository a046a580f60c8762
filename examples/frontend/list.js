/**
 * The list of tasks, and the actions of the user on them.
 *
 * @import { ApiError, NewTask, Task } from "./taskflow.js"
 * @import { Tasks } from "./tasks.js"
 * @typedef {ReturnType<typeof readAddress>} Asked
 * @typedef {{ tasks: () => Tasks, isLoggedIn: () => boolean, follow: () => unknown,
 *   go: (address: string) => void }} Page
 */

import { Editor } from "./editor.js";
import {
  $,
  addressWith,
  copyOf,
  describe,
  make,
  onSubmit,
  quote,
  readAddress,
  say,
  show,
} from "./page.js";
import { VIEWS, dayOf, dueInWords, dueOf, select } from "./tasks.js";

const PAGE = 20; // tasks

/** @type {Record<string, [string, string]>} */
const WORDS = {
  all: ["All tasks", "Nothing to do yet. Add your first task above."],
  today: ["Today", "Nothing is due today."],
  overdue: ["Overdue", "Nothing is overdue."],
  pending: ["To do", "Nothing is waiting to be done."],
  in_progress: ["In progress", "Nothing is in progress. Begin a task by editing its status."],
  completed: ["Completed", "Nothing is completed yet. Tick off your first task."],
};

export class List {
  /** @type {Editor | null} */
  #editor = null;
  #key = crypto.randomUUID();
  #keyed = "";
  #scrolling = 0;

  /** @param {Page} page */
  constructor(page) {
    this.page = page;
    onSubmit($("add"), ({ title }) => title.trim() && this.#add(title));
    $("list").addEventListener("click", (/** @type {any} */ event) => this.#act(event));
    $("clear").addEventListener("click", () => this.#clear());
    $("previous").addEventListener("click", () => this.#turn($("previous")));
    $("next").addEventListener("click", () => this.#turn($("next")));
  }

  // Drafts

  /** Return whether there is a draft, and ask whether to discard it. */
  keepsDraft() {
    if (!this.#editor?.isDirty()) return false;
    this.#editor.warn();
    return true;
  }

  forgetDrafts() {
    this.#removeEditor();
    $("add").reset();
  }

  #removeEditor() {
    this.#editor?.form.closest("li")?.remove(); // rendering makes a new row
    this.#editor = null;
  }

  // Rendering

  /** @param {Asked} asked */
  render(asked) {
    const { view, tag, q, priority } = asked;
    const { ready, summary } = this.page.tasks();
    const [heading, nothing] = WORDS[view];
    $("heading").textContent = tag || heading;
    document.title = `${tag || heading} · TaskFlow`;
    $("date").textContent = new Intl.DateTimeFormat("en", { dateStyle: "full" }).format(new Date());
    const found = select(this.page.tasks().all(), asked);
    this.#renderRows(found, Math.trunc(Number(asked.page)) || 1);
    const completed = summary?.byStatus.completed ?? 0;
    $("clear").hidden = !completed;
    $("clear").textContent = `Clear ${completed} completed`;
    const isFiltered = Boolean(tag || q || priority);
    const none = q ? `No task matches ${quote(q)}.` : "No task matches these filters.";
    const words = ready ? (isFiltered ? none : nothing) : "Loading your tasks …";
    $("empty").firstElementChild.textContent = words;
    $("show-all").hidden = !ready || !isFiltered;
    $("empty").hidden = ready && found.length > 0;
    $("empty").ariaBusy = String(!ready);
  }

  /** Show a page, and keep the focus where it was, or near. */
  #renderRows(/** @type {Task[]} */ found, /** @type {number} */ asked) {
    const last = Math.max(1, Math.ceil(found.length / PAGE));
    const number = Math.min(Math.max(1, asked), last);
    const rows = found.slice((number - 1) * PAGE, number * PAGE);
    this.#renderPager(number, last, found.length);
    const focused = /** @type {HTMLElement} */ (document.activeElement);
    const row = /** @type {HTMLElement | null} */ (focused.closest("#list > li"));
    const place = row ? [...$("list").children].indexOf(row) : -1;
    const edited = this.#editor;
    // The edited row stays, even if its task is no longer on this page.
    if (edited && !rows.some(({ id }) => id === edited.id))
      rows.splice(edited.place, 0, edited.task);
    show(
      $("list"),
      rows,
      ({ id }) => id,
      () => copyOf("row"),
      (element, task) =>
        edited?.id === task.id ? this.#fillEdited(element, edited) : fillRow(element, task),
    );
    if (place >= 0 && document.activeElement === document.body) {
      focusRow(row?.dataset.key, place, focused.dataset.act);
    }
  }

  #fillEdited(/** @type {HTMLElement} */ row, /** @type {Editor} */ editor) {
    if (!row.contains(editor.form)) row.replaceChildren(editor.form);
    editor.follow();
  }

  #renderPager(
    /** @type {number} */ number,
    /** @type {number} */ last,
    /** @type {number} */ found,
  ) {
    $("pager").hidden = last === 1;
    const to = Math.min(number * PAGE, found);
    $("range").textContent = `${(number - 1) * PAGE + 1}–${to} of ${found}`;
    // Not `disabled`, because a disabled button loses the focus.
    $("previous").ariaDisabled = String(number === 1);
    $("next").ariaDisabled = String(number === last);
    $("previous").value = number - 1;
    $("next").value = number + 1;
  }

  #turn(/** @type {HTMLButtonElement} */ button) {
    if (button.ariaDisabled === "true") return;
    this.page.go(addressWith({ page: button.value }));
    clearTimeout(this.#scrolling); // scroll later, so that a second click still hits the button
    this.#scrolling = setTimeout(() => $("heading").scrollIntoView({ block: "nearest" }), 500);
  }

  // Actions

  /** Add a task that is shown in the current view. @param {string} title */
  async #add(title) {
    const { view, tag, priority } = readAddress();
    const task = /** @type {NewTask} */ ({
      title,
      ...(view === "today" && { dueDate: dayOf() }),
      ...(view === "in_progress" && { status: view }),
      ...(tag && { tags: [tag] }),
      ...(priority && { priority }),
    });
    // Adding again after a lost answer must not add another task.
    if (this.#keyed !== JSON.stringify(task)) this.#key = crypto.randomUUID();
    this.#keyed = JSON.stringify(task);
    const created = await this.page.tasks().create(task, this.#key);
    this.#keyed = "";
    if ($("add").elements.title.value === title) $("add").reset();
    if (!rowOf(created.id)) say(`Added ${quote(created.title)}.`);
  }

  #act(/** @type {{ target: HTMLElement, detail: number }} */ { target, detail }) {
    const task = this.page.tasks().get(target.closest("li")?.dataset.key ?? "");
    if (!task || this.#editor?.form.contains(target)) return;
    const button = /** @type {HTMLElement | null} */ (target.closest("[data-act]"));
    const act = button?.dataset.act;
    if (act === "toggle") this.#toggle(task);
    else if (act === "delete" && detail < 2)
      this.#delete(task); // not again for a double click, whose second click hits the next task
    else if (act === "edit" || target.matches(".title")) this.#edit(task.id);
  }

  #toggle(/** @type {Task} */ { id, title, status }) {
    const isDone = status === "completed";
    const write = this.page.tasks().update(id, { status: isDone ? "pending" : "completed" });
    this.#tellRefusal(`${quote(title)} was not ${isDone ? "reopened" : "completed"}.`, write);
  }

  #delete(/** @type {Task} */ { id, title }) {
    const tasks = this.page.tasks();
    const deletion = tasks.delete(id);
    say(`Deleted ${quote(title)}.`, async () => {
      await deletion;
      await tasks.restore([id]);
      focusRow(id);
    });
    this.#tellRefusal(`${quote(title)} was not deleted.`, deletion);
  }

  #clear() {
    const tasks = this.page.tasks();
    const ids = tasks
      .all()
      .filter(VIEWS.completed)
      .map(({ id }) => id);
    const clearing = tasks.clear(ids);
    $("heading").focus({ preventScroll: true });
    say(`Cleared ${ids.length} completed ${ids.length === 1 ? "task" : "tasks"}.`, async () => {
      await clearing;
      await tasks.restore(ids);
    });
    this.#tellRefusal("The completed tasks were not all cleared.", clearing);
  }

  async #edit(/** @type {string} */ id) {
    if (this.keepsDraft()) return;
    await this.page.tasks().settled(id);
    const task = this.page.tasks().get(id);
    if (!task) return;
    this.#closeEditor();
    const place = [...$("list").children].indexOf(rowOf(id));
    this.#editor = new Editor(this.page.tasks, task, place, () => {
      this.#closeEditor();
      focusRow(id, place, "edit");
    });
    this.render(readAddress());
    this.#editor.focus();
  }

  #closeEditor() {
    this.#removeEditor();
    this.render(readAddress());
  }

  /** Wait for a write, and say why if it is refused. */
  async #tellRefusal(/** @type {string} */ words, /** @type {Promise<unknown>} */ write) {
    try {
      await write;
    } catch (caught) {
      const error = /** @type {ApiError} */ (caught);
      if (!this.page.isLoggedIn()) return; // the session has ended, and the page says so
      say(`${words} ${describe(error)}`);
      if (error.name !== "ApiError") throw error; // a bug in this page
      this.page.follow(); // shows what the task is now
    }
  }
}

const rowOf = (/** @type {string} */ id) =>
  $("list").querySelector(`[data-key="${CSS.escape(id)}"]`);

/** Focus a control in a row, or in the row that took its place. */
function focusRow(/** @type {string | undefined} */ id, place = 0, act = "toggle") {
  const rows = $("list").children;
  const row = rowOf(id ?? "") ?? rows[Math.min(place, rows.length - 1)];
  (row?.querySelector(`[data-act=${act}]`) ?? $("add").elements.title).focus();
}

function fillRow(/** @type {HTMLElement} */ row, /** @type {Task} */ task) {
  const find = (/** @type {string} */ selector) => /** @type {any} */ (row.querySelector(selector));
  row.dataset.status = task.status;
  find(".title").textContent = task.title;
  find(".description").textContent = task.description ?? "";
  find("[data-act=toggle]").checked = task.status === "completed";
  find("[data-act=toggle]").ariaLabel = task.title;
  find("[data-act=edit]").ariaLabel = `Edit ${task.title}`;
  find("[data-act=delete]").ariaLabel = `Delete ${task.title}`;
  show(
    find(".meta"),
    factsOf(task),
    String,
    () => make("span", {}),
    (element, [kind, words]) => {
      element.className = kind;
      element.dir = kind === "tag" ? "auto" : "ltr";
      element.textContent = words;
    },
  );
}

/** Return the facts below a title, as pairs of a class and a text. @param {Task} task */
function factsOf(task) {
  const facts = [];
  const due = dueOf(task);
  if (due.isOverdue) facts.push(["due overdue", `Overdue: ${dueInWords(due)}`]);
  else if (due.day) facts.push([due.isToday ? "due today" : "due", dueInWords(due)]);
  if (task.status === "in_progress") facts.push(["badge", "In progress"]);
  if (task.priority === "high") facts.push(["high", "High priority"]);
  if (task.priority === "low") facts.push(["low", "Low priority"]);
  return [...facts, ...task.tags.map((tag) => ["tag", tag])];
}
