/**
 * The page: its user, its address, its navigation, and how it follows other tabs and devices.
 *
 * @import { ApiError, User } from "./taskflow.js"
 */

import { connect, showWelcome } from "./account.js";
import { List } from "./list.js";
import { $, addressWith, describe, make, readAddress, say, show } from "./page.js";
import { TaskFlow } from "./taskflow.js";
import { Tasks, VIEWS } from "./tasks.js";

const POLL = 3_500; // milliseconds; other tabs and devices are followed within five seconds
const MOST_PATIENCE = 30_000; // the longest wait after failures
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
const list = new List({ tasks: () => tasks, isLoggedIn: () => Boolean(user), follow, go });
let owner = ""; // the id of the user whose drafts are kept
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
  if (isLeaving || (current && current.id !== owner)) list.forgetDrafts();
  owner = current?.id ?? owner;
  tasks = new Tasks(api, render);
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

$("logout").addEventListener("click", () => {
  if (!list.keepsDraft()) leave(() => api.logout()).catch((error) => say(describe(error)));
});

// Another tab has logged in or out.
addEventListener("storage", ({ key, newValue }) => {
  if (key !== api.csrfKey) return;
  if (newValue) return location.reload();
  api.accessToken = null;
  showUser(null);
});

addEventListener("beforeunload", (event) => list.keepsDraft() && event.preventDefault());

// Following other tabs and devices

let timer = 0;
let failures = 0;

/** Read what has changed, and repeat that after a while. A hidden tab waits until it is visible. */
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
  document.title = isAccount && user ? "Account · TaskFlow" : "TaskFlow";
  if (user && isAccount && shownView !== "account") showAccount();
  shownView = user ? asked.view : "";
  if (!user) return;
  for (const [name, value] of Object.entries(asked)) {
    const input = $("filter").elements[name];
    if (input && input.value !== value) input.value = value;
  }
  renderNavigation(asked);
  if (!isAccount) list.render(asked);
}

/** @param {ReturnType<typeof readAddress>} asked */
function renderNavigation({ view, tag }) {
  const all = tasks.all();
  const { total = 0, limit = 0, byStatus = {}, tags = [] } = tasks.summary ?? {};
  /** @type {Record<string, number>} */
  const counts = { all: total, ...byStatus };
  for (const day of ["today", "overdue"]) counts[day] = all.filter(VIEWS[day]).length;
  for (const link of /** @type {NodeListOf<HTMLElement>} */ (
    document.querySelectorAll("[data-view]")
  )) {
    const own = link.dataset.view ?? "";
    link.setAttribute("href", addressWith({ view: own, tag: "", q: "", priority: "" }));
    link.ariaCurrent = own === view && !tag ? "page" : null;
    const count = link.querySelector("span");
    if (count) count.textContent = tasks.summary ? String(counts[own] ?? 0) : "";
  }
  const named = tags.slice(0, TAGS);
  if (tag && !named.some((other) => other.tag === tag)) named.push({ tag, count: 0 });
  show(
    $("tags"),
    named,
    (item) => item.tag,
    tagItem,
    (item, { tag: name, count }) => {
      const link = item.firstElementChild;
      link.firstChild.textContent = name;
      link.lastChild.textContent = count;
      link.setAttribute("href", addressWith({ view: "all", tag: name === tag ? "" : name }));
      link.ariaCurrent = name === tag ? "page" : null;
    },
  );
  $("tags-title").hidden = $("tags").hidden = !named.length;
  $("capacity").textContent = tasks.summary
    ? `${total} of ${limit.toLocaleString("en")} tasks`
    : "";
}

function tagItem() {
  const link = make("a", {});
  link.append(make("bdi", {}), make("span", {}));
  const item = make("li", {});
  item.append(link);
  return item;
}

async function begin() {
  try {
    await api.resume();
  } catch (error) {
    $("banner").textContent = `${describe(/** @type {ApiError} */ (error))} Trying again …`;
    setTimeout(begin, POLL);
  }
}

begin();
