/**
 * The page: who is logged in, which tasks are shown, and what happens to them.
 *
 * @import { ApiError, NewTask, Task, User } from "./taskflow.js"
 */

import { connect, showWelcome } from "./account.js";
import { Editor } from "./editor.js";
import {
  $, addressWith, copyOf, describe, make, onSubmit, quote, readAddress, say, show,
} from "./page.js";
import { TaskFlow } from "./taskflow.js";
import { Tasks, VIEWS, dayOf, dueInWords, dueOf, select } from "./tasks.js";

const POLL = 4_000; // milliseconds; other tabs and devices are followed within five seconds
const MOST_PATIENCE = 30_000; // the longest wait after failures
const PAGE = 20;
const TAGS = 12;

// Only on localhost: elsewhere, a link could make this page send passwords to an attacker.
const given = location.hostname === "localhost" && new URLSearchParams(location.search).get("api");
const meta = /** @type {HTMLMetaElement} */ (document.querySelector("[name=taskflow-api]"));
const api = new TaskFlow(given || meta.content, showUser);
const showAccount = connect(api, leave);

// The user

/** @type {User | null | undefined} */
let user;
let tasks = new Tasks(api, render);
/** @type {Editor | null} */
let editor = null;
let owner = ""; // the id of the user whose draft it is
let isLeaving = false;
const hadSession = Boolean(localStorage.getItem(api.csrfKey));

/** @param {User | null} current */
function showUser(current) {
  const before = user;
  user = current;
  $("email").textContent = $("email").title = current?.email ?? "";
  $("current-email").textContent = current?.email ?? "";
  for (const input of document.querySelectorAll("[name=username]")) {
    input.setAttribute("value", current?.email ?? ""); // password managers look for it
  }
  if (before !== undefined && before?.id === current?.id) return; // a refresh, or another email
  if (isLeaving || (current && current.id !== owner)) forgetDrafts();
  owner = current?.id ?? owner;
  tasks = new Tasks(api, render);
  if (editor) editor.tasks = tasks;
  for (const id of ["enter", "change-email", "change-password", "delete-account"]) $(id).reset();
  for (const id of ["list", "sessions", "banner", "tags", "toast"]) $(id).replaceChildren();
  for (const id of ["email", "logout", "nav"]) $(id).hidden = !current;
  $("welcome").hidden = Boolean(current);
  showWelcome("log-in");
  const hasEnded = !isLeaving && (before || hadSession);
  if (hasEnded) $("welcome-note").textContent = "Your session has ended. Log in to go on.";
  render();
  if (current) follow();
  (current ? $("add").elements.title : $("enter").elements.email).focus({ preventScroll: true });
}

/** Run an action that ends the session on purpose. @param {() => Promise<void>} action */
async function leave(action) {
  isLeaving = true;
  await action().finally(() => {
    isLeaving = false;
  });
}

function forgetDrafts() {
  editor?.form.closest("li")?.remove();
  editor = null;
  $("add").reset();
  $("filter").reset();
}

$("logout").addEventListener("click", () => {
  if (editor?.isDirty()) return editor.warn();
  leave(() => api.logout()).catch((error) => say(describe(error)));
});

// Another tab has logged in or out.
addEventListener("storage", ({ key, newValue }) => {
  if (key !== api.csrfKey) return;
  if (newValue) return location.reload();
  api.accessToken = null;
  showUser(null);
});

addEventListener("beforeunload", (event) => editor?.isDirty() && event.preventDefault());

// Following other tabs and devices

let timer = 0;
let failures = 0;

/** Read what has changed, and again after a while. Hidden tabs wait until they are looked at. */
async function follow() {
  clearTimeout(timer);
  const mine = tasks;
  let pause = POLL;
  try {
    await mine.sync();
    failures = 0;
    $("banner").textContent = "";
  } catch (caught) {
    const error = /** @type {ApiError} */ (caught);
    if (!user) return; // the session has ended
    pause = (error.retryAfter ?? 0) * 1000 || Math.min(MOST_PATIENCE, POLL * 2 ** failures++);
    $("banner").textContent = `${error.message} Trying again in ${pause / 1000} seconds.`;
    if (error.name !== "ApiError") throw error; // a bug in this page
  }
  if (mine !== tasks || !user) return;
  render(); // a day may have ended
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(follow, pause);
}

const followNow = () => user && !document.hidden && follow();
document.addEventListener("visibilitychange", followNow);
addEventListener("online", followNow);

// The address

/** @param {string} address @param {boolean} [replaces] */
function go(address, replaces = false) {
  history[replaces ? "replaceState" : "pushState"](null, "", address);
  render();
}

document.addEventListener("click", (event) => {
  const link = /** @type {Element} */ (event.target).closest("a[href^='?']");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  const wasAccount = readAddress().view === "account";
  go(link.getAttribute("href") ?? "");
  if (wasAccount !== (readAddress().view === "account")) headingShown().focus();
});
addEventListener("popstate", render);

const headingShown = () => $(readAddress().view === "account" ? "account-title" : "heading");

$("filter").addEventListener("input", () => {
  go(addressWith(Object.fromEntries(new FormData($("filter")))), true);
});
$("filter").addEventListener("submit", (/** @type {Event} */ event) => event.preventDefault());

// What is shown

let shownView = "";

function render() {
  const asked = readAddress();
  const isAccount = asked.view === "account";
  $("tasks").hidden = !user || isAccount;
  $("account").hidden = !user || !isAccount;
  if (user && isAccount && shownView !== "account") showAccount();
  shownView = user ? asked.view : "";
  if (!user) return;
  for (const name of ["q", "priority", "sort"]) {
    const input = $("filter").elements[name];
    if (input.value !== /** @type {any} */ (asked)[name]) input.value = /** @type {any} */ (asked)[name];
  }
  renderNavigation(asked);
  if (!isAccount) renderList(asked);
}

/** @param {ReturnType<typeof readAddress>} asked */
function renderNavigation({ view, tag }) {
  const all = tasks.all();
  const { total = 0, limit = 0, byStatus = {}, tags = [] } = tasks.summary ?? {};
  /** @type {Record<string, number>} */
  const counts = { all: total, ...byStatus };
  for (const day of ["today", "overdue"]) counts[day] = all.filter(VIEWS[day]).length;
  for (const link of /** @type {NodeListOf<HTMLAnchorElement>} */ (document.querySelectorAll("a[data-view]"))) {
    const own = link.dataset.view ?? "";
    link.setAttribute("href", addressWith({ view: own, tag: "", q: "", priority: "" }));
    link.toggleAttribute("data-current", own === view && !tag);
    link.ariaCurrent = own === view && !tag ? "page" : null;
    const count = link.querySelector("span");
    if (count) count.textContent = tasks.summary ? String(counts[own] ?? 0) : "";
  }
  const named = tags.slice(0, TAGS);
  if (tag && !named.some((other) => other.tag === tag)) named.push({ tag, count: 0 });
  show($("tags"), named, (item) => item.tag, tagItem, (item, { tag: name, count }) => {
    const link = item.firstElementChild;
    link.firstChild.textContent = name;
    link.lastChild.textContent = count;
    link.setAttribute("href", addressWith({ view: "all", tag: name === tag ? "" : name }));
    link.ariaCurrent = name === tag ? "page" : null;
  });
  $("tags-title").hidden = $("tags").hidden = !named.length;
  $("capacity").textContent = tasks.summary ? `${total} of ${limit.toLocaleString("en")} tasks` : "";
}

function tagItem() {
  const link = make("a", {});
  link.append(make("bdi", {}), make("span", {}));
  const item = make("li", {});
  item.append(link);
  return item;
}

/** @type {Record<string, [string, string]>} */
const WORDS = {
  all: ["All tasks", "Nothing to do yet. Add your first task above."],
  today: ["Today", "Nothing is due today."],
  overdue: ["Overdue", "Nothing is overdue."],
  pending: ["To do", "Nothing is waiting to be done."],
  in_progress: ["In progress", "Nothing is in progress. Begin a task by editing its status."],
  completed: ["Completed", "Nothing is completed yet. Tick off your first task."],
};

/** @param {ReturnType<typeof readAddress>} asked */
function renderList(asked) {
  const { view, tag, q, priority, page } = asked;
  const [heading, nothing] = WORDS[view];
  $("heading").textContent = tag || heading;
  document.title = `${tag || heading} · TaskFlow`;
  $("date").textContent = new Intl.DateTimeFormat("en", { dateStyle: "full" }).format(new Date());
  const found = select(tasks.all(), asked);
  const pages = Math.max(1, Math.ceil(found.length / PAGE));
  const number = Math.min(Math.max(1, Math.trunc(Number(page)) || 1), pages);
  const rows = found.slice((number - 1) * PAGE, number * PAGE);
  renderRows(rows);
  renderPager(number, pages, found.length);
  const isFiltered = Boolean(tag || q || priority);
  const completed = tasks.summary?.byStatus.completed ?? 0;
  $("clear").hidden = !completed || !tasks.ready;
  $("clear").textContent = `Clear ${completed} completed`;
  $("empty").hidden = tasks.ready && rows.length > 0;
  $("empty").ariaBusy = String(!tasks.ready);
  $("show-all").hidden = !tasks.ready || !isFiltered;
  const none = q ? `No task matches ${quote(q)}.` : "No task is like this.";
  const text = tasks.ready ? (isFiltered ? none : nothing) : "Loading your tasks …";
  if ($("empty").firstElementChild.textContent !== text) $("empty").firstElementChild.textContent = text;
}

/** Show rows, and keep the focus where it was, or near. @param {Task[]} rows */
function renderRows(rows) {
  const focused = /** @type {HTMLElement} */ (document.activeElement);
  const row = /** @type {HTMLElement | null} */ (focused.closest("#list > li"));
  const place = row ? [...$("list").children].indexOf(row) : -1;
  const edited = editor;
  const shown = [...rows];
  // The edited row stays, whatever becomes of its task.
  if (edited && !shown.some(({ id }) => id === edited.id)) shown.splice(edited.place, 0, edited.task);
  show($("list"), shown, ({ id }) => id, () => copyOf("row"), fillRow);
  if (place >= 0 && document.activeElement === document.body) {
    focusRow(row?.dataset.key, place, focused.dataset.act ?? "toggle");
  }
}

/** Focus a row's control; without the row, the one that took its place. */
function focusRow(/** @type {string | undefined} */ id, place = 0, act = "toggle") {
  const rows = [...$("list").children];
  const row = rows.find((other) => other.dataset.key === id) ?? rows[Math.min(place, rows.length - 1)];
  (row?.querySelector(`[data-act=${act}]`) ?? $("add").elements.title).focus();
}

/** @param {HTMLElement} row @param {Task} task */
function fillRow(row, task) {
  if (editor?.id === task.id) {
    if (!row.contains(editor.form)) row.replaceChildren(editor.form);
    return editor.follow();
  }
  const find = (/** @type {string} */ selector) => /** @type {any} */ (row.querySelector(selector));
  const due = dueOf(task);
  row.dataset.status = task.status;
  find(".title").textContent = task.title;
  find(".description").textContent = task.description ?? "";
  find("[data-act=toggle]").checked = task.status === "completed";
  find("[data-act=toggle]").ariaLabel = task.title;
  find("[data-act=edit]").ariaLabel = `Edit ${task.title}`;
  find("[data-act=delete]").ariaLabel = `Delete ${task.title}`;
  const about = task.tags.map((tag) => ["tag", tag, ""]);
  if (task.priority !== "medium") {
    about.unshift(["flag", task.priority === "high" ? "High priority" : "Low priority", task.priority]);
  }
  if (task.status === "in_progress") about.unshift(["badge", "In progress", ""]);
  const state = due.isOverdue ? "overdue" : due.isToday ? "today" : "";
  if (due.day) about.unshift(["due", dueInWords(due), state]);
  show(find(".meta"), about, String, () => make("span", {}), (element, [kind, text, state]) => {
    element.className = `${kind} ${state}`;
    element.dir = kind === "tag" ? "auto" : "ltr";
    element.textContent = state === "overdue" ? `Overdue: ${text}` : text;
  });
}

let scrolling = 0;

/** @param {number} number @param {number} pages @param {number} found */
function renderPager(number, pages, found) {
  $("pager").hidden = pages === 1;
  $("range").textContent = `${(number - 1) * PAGE + 1}–${Math.min(number * PAGE, found)} of ${found}`;
  // Not disabled, which would lose the focus.
  $("previous").ariaDisabled = String(number === 1);
  $("next").ariaDisabled = String(number === pages);
  for (const [id, to] of /** @type {[string, number][]} */ ([["previous", number - 1], ["next", number + 1]])) {
    $(id).onclick = () => {
      if (to < 1 || to > pages) return;
      go(addressWith({ page: String(to) }));
      clearTimeout(scrolling); // only later, so that a second click hits the button too
      scrolling = setTimeout(() => $("heading").scrollIntoView({ block: "nearest" }), 500);
    };
  }
}

// What happens to tasks

let key = crypto.randomUUID();
let keyed = "";

onSubmit($("add"), async (/** @type {{ title: string }} */ { title }) => {
  const { view, tag, priority } = readAddress();
  if (!title.trim()) return;
  const task = /** @type {NewTask} */ ({
    title,
    ...(view === "today" && { dueDate: dayOf() }),
    ...(view === "in_progress" && { status: view }),
    ...(tag && { tags: [tag] }),
    ...(priority && { priority }),
  });
  // Adding again after a lost answer must not add another task.
  if (keyed !== JSON.stringify(task)) key = crypto.randomUUID();
  keyed = JSON.stringify(task);
  const created = await tasks.create(task, key);
  keyed = "";
  if ($("add").elements.title.value === title) $("add").reset();
  if (!$("list").querySelector(`[data-key="${created.id}"]`)) say(`Added ${quote(created.title)}.`);
});

$("list").addEventListener("click", (/** @type {any} */ { target }) => {
  const row = target.closest("li");
  const task = tasks.get(row?.dataset.key);
  if (!task || row.contains(editor?.form ?? null)) return;
  const act = target.closest("[data-act]")?.dataset.act;
  if (act === "toggle") toggle(task);
  else if (act === "delete") remove(task);
  else if (act === "edit" || target.matches(".title")) edit(task.id);
});

/** Run a write, and tell why it was refused. @param {string} not @param {Promise<unknown>} write */
async function tellRefusal(not, write) {
  try {
    await write;
  } catch (caught) {
    const error = /** @type {ApiError} */ (caught);
    if (!user) return; // the session has ended, which the page tells
    say(`${not} ${describe(error)}`);
    if (error.name !== "ApiError") throw error;
    follow(); // shows what the task is now
  }
}

function toggle(/** @type {Task} */ task) {
  const isDone = task.status === "completed";
  const not = `${quote(task.title)} was not ${isDone ? "reopened" : "completed"}.`;
  tellRefusal(not, tasks.update(task.id, { status: isDone ? "pending" : "completed" }));
}

function remove(/** @type {Task} */ task) {
  const deletion = tasks.delete(task.id);
  say(`Deleted ${quote(task.title)}.`, async () => {
    await deletion;
    await tasks.restore(task.id);
    focusRow(task.id);
  });
  tellRefusal(`${quote(task.title)} was not deleted.`, deletion);
}

async function edit(/** @type {string} */ id) {
  if (editor?.isDirty()) return editor.warn();
  await tasks.settled(id);
  const task = tasks.get(id);
  if (!task) return;
  closeEditor();
  const place = [...$("list").children].findIndex((row) => row.dataset.key === id);
  editor = new Editor(tasks, task, place, () => {
    closeEditor();
    focusRow(id, place, "edit");
  });
  render();
  editor.focus();
}

function closeEditor() {
  editor?.form.closest("li")?.remove(); // rendering makes a new row
  editor = null;
  render();
}

$("clear").addEventListener("click", async () => {
  const completed = tasks.all().filter(VIEWS.completed).map(({ id }) => id);
  const clearing = tasks.clear(completed);
  $("heading").focus({ preventScroll: true });
  const words = completed.length === 1 ? "1 completed task" : `${completed.length} completed tasks`;
  say(`Cleared ${words}.`, async () => {
    await clearing;
    for (const id of completed) await tasks.restore(id);
  });
  await tellRefusal("Nothing was cleared.", clearing);
});

async function begin() {
  try {
    await api.resume();
  } catch (error) {
    $("banner").textContent = `${describe(/** @type {ApiError} */ (error))} Trying again …`;
    setTimeout(begin, POLL);
  }
}

begin();
