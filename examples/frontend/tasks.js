/**
 * The page's copy of the user's tasks. It follows the feed of changes, and shows a change before the
 * service has confirmed it. Filters and days are here too.
 *
 * @import { ApiError, NewTask, Ref, Summary, Task, TaskFields, TaskFlow } from "./taskflow.js"
 * @typedef {{ view: string, tag: string, priority: string, q: string, sort: string }} Filter
 * @typedef {Partial<TaskFields> & { gone?: boolean }} Guess
 */

const FEED_PAGE = 500; // the largest that the service returns
const BATCH = 100;
const SETTLE = 250; // milliseconds in which several writes share one synchronization

export class Tasks {
  ready = false; // whether all tasks were read once
  /** @type {Summary & { etag: string | null } | null} */
  summary = null;
  /** @type {Map<string, Task>} */
  #known = new Map();
  /** @type {Map<string, Guess[]>} */
  #guesses = new Map();
  /** @type {Map<string, Promise<unknown>>} */
  #queues = new Map();
  /** @type {{ since?: string, etag?: string | null }} */
  #feed = {};
  /** @type {Promise<unknown>} */
  #syncing = Promise.resolve();
  #writes = 0;
  #countsAreOld = true;
  #timer = 0;

  /** @param {TaskFlow} api @param {() => void} onChange is called when there is more to show */
  constructor(api, onChange) {
    this.api = api;
    this.onChange = onChange;
  }

  /** Return the tasks as they will be when every write under way has succeeded. */
  all() {
    return [...this.#known.keys()].map((id) => this.get(id)).filter((task) => task !== undefined);
  }

  /** @param {string} id @returns {Task | undefined} */
  get(id) {
    const task = this.#known.get(id);
    const guesses = this.#guesses.get(id) ?? [];
    if (!task || guesses.some(({ gone }) => gone)) return undefined;
    return Object.assign({}, task, ...guesses);
  }

  /** Wait until the writes of a task are answered. @param {string} id */
  settled(id) {
    return Promise.allSettled([this.#queues.get(id)]);
  }

  // Reading

  /** Read what has changed since the last time. Calls take turns. */
  sync() {
    clearTimeout(this.#timer);
    const run = () => this.#sync();
    return (this.#syncing = this.#syncing.then(run, run));
  }

  async #sync() {
    for (let more = true; more;) {
      const writes = this.#writes;
      const page = await this.#changes();
      if (!page) break;
      // This page of changes may be older than the answer to a write that came meanwhile.
      if (writes !== this.#writes) continue;
      for (const task of page.changed) this.#known.set(task.id, task);
      for (const id of page.deleted) this.#known.delete(id);
      this.#feed = { since: page.nextSince, etag: page.etag };
      this.#countsAreOld ||= page.changed.length + page.deleted.length > 0;
      more = page.hasMore;
    }
    this.ready = true;
    if (!this.#countsAreOld) return;
    this.onChange();
    this.summary = (await this.api.summary(this.summary?.etag)) ?? this.summary;
    this.#countsAreOld = false;
    this.onChange();
  }

  async #changes() {
    try {
      return await this.api.changes({ since: this.#feed.since, limit: FEED_PAGE }, this.#feed.etag);
    } catch (error) {
      if (/** @type {ApiError} */ (error).code !== "changes_expired") throw error;
      this.#known.clear();
      this.#feed = {};
      return this.api.changes({ limit: FEED_PAGE });
    }
  }

  // Writing

  /** @param {NewTask} fields @param {string} key */
  async create(fields, key) {
    return this.#learn(await this.api.createTask(fields, key));
  }

  /**
   * Save the fields of a form, if the task still has the version that the form shows.
   *
   * @param {Ref} task @param {Partial<TaskFields>} fields
   */
  async save(task, fields) {
    return this.#learn(await this.api.updateTask(task, fields));
  }

  /** Show new fields at once, and take them back if the service refuses. */
  update(/** @type {string} */ id, /** @type {Partial<TaskFields>} */ fields) {
    return this.#guess([id], fields, async () => {
      this.#learn(await this.api.updateTask(this.#version(id), fields));
    });
  }

  /** Hide a task at once, and show it again if the service refuses. @param {string} id */
  delete(id) {
    return this.#guess([id], { gone: true }, async () => {
      await this.api.deleteTask(this.#version(id));
      this.#forget([id]);
    });
  }

  /** Delete tasks in batches, and return the ids of the deleted ones. @param {string[]} ids */
  async clear(ids) {
    await this.#guess(ids, { gone: true }, async () => {
      for (let start = 0; start < ids.length; start += BATCH) {
        const refs = ids.slice(start, start + BATCH).map((id) => this.#version(id));
        this.#forget((await this.api.batch({ delete: refs })).deleted);
      }
    });
    return ids;
  }

  /** Restore deleted tasks, and wait where the rate limit requires it. @param {string[]} ids */
  async restore(ids) {
    for (const id of ids) {
      try {
        this.#learn(await this.api.restoreTask(id));
      } catch (caught) {
        const error = /** @type {ApiError} */ (caught);
        if (error.code !== "rate_limited") throw error;
        await new Promise((resolve) => setTimeout(resolve, (error.retryAfter ?? 1) * 1000));
        this.#learn(await this.api.restoreTask(id));
      }
    }
  }

  #version(/** @type {string} */ id) {
    return { id, version: this.#known.get(id)?.version };
  }

  #learn(/** @type {Task} */ task) {
    this.#known.set(task.id, task);
    this.#settle();
    return task;
  }

  #forget(/** @type {string[]} */ ids) {
    for (const id of ids) this.#known.delete(id);
    this.#settle();
  }

  /** Show a write, and let the counts follow. */
  #settle() {
    this.#writes++;
    this.onChange();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.sync().catch(() => {}), SETTLE); // the poll reports errors
  }

  /**
   * Show a guess while a write runs. Writes of one task wait for each other, so that each one knows
   * the version that the one before it made.
   *
   * @param {string[]} ids @param {Guess} guess @param {() => Promise<void>} write
   */
  async #guess(ids, guess, write) {
    for (const id of ids) this.#guesses.set(id, [...(this.#guesses.get(id) ?? []), guess]);
    this.onChange();
    const earlier = ids.map((id) => this.#queues.get(id));
    const turn = Promise.allSettled(earlier).then(write);
    for (const id of ids) this.#queues.set(id, turn);
    try {
      await turn;
    } finally {
      for (const id of ids) {
        const left = (this.#guesses.get(id) ?? []).filter((other) => other !== guess);
        if (left.length) this.#guesses.set(id, left);
        else this.#guesses.delete(id);
        if (this.#queues.get(id) === turn) this.#queues.delete(id);
      }
      this.onChange();
    }
  }
}

// Days

/** Return a moment's day in the browser's own zone, in the form of a plain day. */
export function dayOf(moment = new Date()) {
  const two = (/** @type {number} */ number) => String(number).padStart(2, "0");
  const year = String(moment.getFullYear()).padStart(4, "0");
  return `${year}-${two(moment.getMonth() + 1)}-${two(moment.getDate())}`;
}

/** Return a moment's time of day in the browser's own zone. @param {Date} moment */
export function timeOf(moment) {
  return moment.toTimeString().slice(0, 5);
}

const isDay = (/** @type {string} */ due) => due.length === 10;

/**
 * Return the day and the time on which a task is due in the browser's own zone.
 *
 * A plain day is the same day in every zone, and ends when that day ends where the user is. The
 * service's filters and its count of overdue tasks take a plain day in UTC, so the page does not use
 * them.
 *
 * @param {Task} task
 */
export function dueOf({ dueDate, status }, now = new Date()) {
  if (!dueDate) return { day: "", time: "", isToday: false, isOverdue: false };
  const moment = new Date(dueDate);
  const [day, time] = isDay(dueDate) ? [dueDate, ""] : [dayOf(moment), timeOf(moment)];
  const isOver = isDay(dueDate) ? day < dayOf(now) : moment < now;
  return { day, time, isToday: day === dayOf(now), isOverdue: isOver && status !== "completed" };
}

/** Return the `dueDate` of a day and a time, as a plain day if there is no time. */
export function dueDateOf(/** @type {string} */ day, /** @type {string} */ time) {
  if (!day) return null;
  return time ? new Date(`${day}T${time}`).toISOString() : day;
}

/** Return a due day in words, such as "Tomorrow, 14:30". @param {ReturnType<typeof dueOf>} due */
export function dueInWords({ day, time }, now = new Date()) {
  const date = new Date(`${day}T12:00`);
  const distance = Math.round((+date - +new Date(`${dayOf(now)}T12:00`)) / 86_400_000);
  const near = { "-1": "Yesterday", 0: "Today", 1: "Tomorrow" }[distance];
  const year = date.getFullYear() === now.getFullYear() ? undefined : "numeric";
  const weekday = distance > 1 && distance < 7 ? "short" : undefined;
  const format = new Intl.DateTimeFormat("en", { weekday, day: "numeric", month: "short", year });
  return [near ?? format.format(date), time].filter(Boolean).join(", ");
}

// Filters

/** @type {Record<string, (task: Task) => boolean>} */
export const VIEWS = {
  all: () => true,
  today: (task) => dueOf(task).isToday && task.status !== "completed",
  overdue: (task) => dueOf(task).isOverdue,
  pending: ({ status }) => status === "pending",
  in_progress: ({ status }) => status === "in_progress",
  completed: ({ status }) => status === "completed",
};

const RANKS = { low: 0, medium: 1, high: 2 };
const collator = new Intl.Collator("en", { numeric: true });
/** Return a due date as a sort key; a plain day counts as its end. @param {Task} task */
const dueKey = (task) => {
  const { day, time } = dueOf(task);
  return day ? `${day} ${time || "24:00"}` : "~"; // tasks without a due date come last
};
/** @type {(a: string, b: string) => number} */
const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
const newest = (/** @type {Task} */ a, /** @type {Task} */ b) =>
  compare(b.createdAt, a.createdAt) || compare(b.id, a.id);

/** @type {Record<string, (a: Task, b: Task) => number>} */
export const SORTS = {
  "-createdAt": newest,
  dueDate: (a, b) => compare(dueKey(a), dueKey(b)) || newest(a, b),
  "-priority": (a, b) => RANKS[b.priority] - RANKS[a.priority] || newest(a, b),
  title: (a, b) => collator.compare(a.title, b.title) || newest(a, b),
};

/** @param {string} text @returns {string[]} */
const wordsOf = (text) =>
  text
    .normalize("NFC")
    .toLowerCase()
    .match(/[\p{L}\p{M}\p{N}]+/gu) ?? [];

/** Return whether every word of a search begins a word of the title or the notes. */
function matches(/** @type {Task} */ { title, description }, /** @type {string[]} */ searched) {
  const words = wordsOf(`${title} ${description ?? ""}`);
  return searched.every((word) => words.some((other) => other.startsWith(word)));
}

/** @param {Task[]} tasks @param {Filter} filter */
export function select(tasks, { view, tag, priority, q, sort }) {
  const searched = wordsOf(q);
  return tasks
    .filter((task) => VIEWS[view](task))
    .filter((task) => !tag || task.tags.some((other) => other.normalize() === tag.normalize()))
    .filter((task) => !priority || task.priority === priority)
    .filter((task) => matches(task, searched))
    .sort(SORTS[sort]);
}
