/**
 * Helpers for every part of the page: its elements, its address, forms and their errors, messages,
 * and lists that keep their elements.
 *
 * @import { ApiError } from "./taskflow.js"
 * @import { Filter } from "./tasks.js"
 */

import { SORTS, VIEWS } from "./tasks.js";

const PATIENCE = 10_000; // milliseconds that a message stays

/** @param {string} id @returns {any} */
export const $ = (id) => document.getElementById(id);

/** Return a copy of a template's element. @param {string} id @returns {any} */
export const copyOf = (id) => $(id).content.firstElementChild.cloneNode(true);

/** Quote a title, and keep its own text direction. @param {string} text */
export const quote = (text) => `“\u2068${text}\u2069”`;

/** @template {keyof HTMLElementTagNameMap} T @param {T} tag @param {object} properties */
export const make = (tag, properties) => Object.assign(document.createElement(tag), properties);

// The address

/** @type {Filter & { page: string }} */
const DEFAULTS = { view: "all", tag: "", priority: "", q: "", sort: "-createdAt", page: "1" };

/** Return what the address asks for. @returns {typeof DEFAULTS} */
export function readAddress() {
  const params = new URLSearchParams(location.search);
  const given = Object.keys(DEFAULTS).map((name) => [name, params.get(name)]);
  const asked = { ...DEFAULTS, ...Object.fromEntries(given.filter(([, value]) => value)) };
  if (!Object.hasOwn(VIEWS, asked.view) && asked.view !== "account") asked.view = DEFAULTS.view;
  if (!Object.hasOwn(SORTS, asked.sort)) asked.sort = DEFAULTS.sort;
  if (!["low", "medium", "high"].includes(asked.priority)) asked.priority = DEFAULTS.priority;
  return asked;
}

/** Return this address with changes; other parameters stay. @param {object} changes */
export function addressWith(changes) {
  const params = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries({ page: "1", ...changes })) {
    if (value === /** @type {any} */ (DEFAULTS)[name]) params.delete(name);
    else params.set(name, value);
  }
  return `?${params}`;
}

// Errors

/** @type {Record<string, string>} */
const WORDS = {
  precondition_failed: "It has changed elsewhere.",
  task_not_found: "It was deleted elsewhere.",
  task_limit_exceeded: "You have as many tasks as the service allows.",
};

/** @param {ApiError} error @param {{ field: string, message: string }[]} [details] */
export function describe(error, details = error.details) {
  const said = [WORDS[error.code] ?? error.message];
  for (const { field, message } of details ?? []) said.push(`${field}: ${message}`);
  if (error.retryAfter) said.push(`Try again in ${error.retryAfter} seconds.`);
  if (error.status >= 500) said.push(`Reference: ${error.correlationId}`);
  return said.join(" ");
}

/**
 * Run an action, and show its errors at the fields of a form or in its alert.
 *
 * @param {() => unknown} action @param {any} form @param {Record<string, string>} [names] maps a
 *   field of the API to a field of the form
 */
export async function attempt(action, form, names = {}) {
  const alert = form.querySelector("[role=alert]");
  alert.textContent = "";
  try {
    await action();
  } catch (caught) {
    const error = /** @type {ApiError} */ (caught);
    const rest = (error.details ?? []).filter(({ field, message }) => {
      const name = field.split(".")[0];
      const input = form.elements?.[names[name] ?? name];
      input?.setCustomValidity(message);
      return !input;
    });
    if (error.details?.length && !rest.length) form.reportValidity();
    else alert.textContent = describe(error, rest);
    if (error.name !== "ApiError") throw error; // a bug in this page
  }
}

/**
 * Run an action when a form is submitted, one at a time.
 *
 * @param {any} form @param {(values: any) => unknown} action
 * @param {Record<string, string>} [names] as for `attempt`
 */
export function onSubmit(form, action, names) {
  form.addEventListener("input", (/** @type {any} */ event) => event.target.setCustomValidity(""));
  form.addEventListener("submit", async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (form.ariaBusy === "true") return;
    form.ariaBusy = "true";
    await attempt(() => action(Object.fromEntries(new FormData(form))), form, names).finally(() => {
      form.ariaBusy = "false";
    });
  });
}

// Messages

let timer = 0;
/** @type {(() => unknown) | null} */
let lastUndo = null;

/**
 * Show a message for a while, with a button that undoes the reported action if `undo` is given.
 *
 * @param {string} text @param {(() => unknown) | null} [undo]
 */
export function say(text, undo = null) {
  const close = make("button", { type: "button", className: "close", textContent: "×" });
  close.ariaLabel = "Dismiss";
  close.addEventListener("click", hush);
  $("toast").replaceChildren(make("span", { textContent: text }), close);
  lastUndo = undo;
  if (undo) {
    const button = make("button", { type: "button", textContent: "Undo", onclick: undoLast });
    button.setAttribute("aria-keyshortcuts", "Control+Z");
    close.before(button);
  }
  wait();
}

function hush() {
  const hadFocus = $("toast").contains(document.activeElement);
  $("toast").replaceChildren();
  if (hadFocus) $("main").focus({ preventScroll: true });
}

/** Hide the message later, unless the pointer or the focus rests on it. */
function wait() {
  clearTimeout(timer);
  timer = setTimeout(
    () => ($("toast").matches(":hover, :focus-within") ? wait() : hush()),
    PATIENCE,
  );
}

async function undoLast() {
  const undo = lastUndo;
  lastUndo = null;
  hush();
  try {
    await undo?.();
  } catch (error) {
    say(`Not undone. ${describe(/** @type {ApiError} */ (error))}`);
  }
}

addEventListener("keydown", (event) => {
  const inText = /** @type {Element} */ (event.target).matches(
    "input:not([type=checkbox]), textarea",
  );
  if (event.key !== "z" || !(event.ctrlKey || event.metaKey) || event.shiftKey || inText) return;
  if (lastUndo) event.preventDefault();
  undoLast();
});

// Lists

/**
 * Make a list show items. Elements of the same key stay, so that the focus stays.
 *
 * @template T
 * @param {Element} list @param {T[]} items @param {(item: T) => string} keyOf
 * @param {() => HTMLElement} create @param {(element: any, item: T) => void} fill
 */
export function show(list, items, keyOf, create, fill) {
  const keys = new Set(items.map(keyOf));
  const elements = /** @type {HTMLElement[]} */ ([...list.children]);
  const old = new Map(elements.map((element) => [element.dataset.key, element]));
  for (const [key, element] of old) if (!keys.has(key ?? "")) element.remove();
  let place = list.firstElementChild;
  for (const item of items) {
    const element = old.get(keyOf(item)) ?? create();
    element.dataset.key = keyOf(item);
    fill(element, item);
    if (element === place) place = place.nextElementSibling;
    else list.insertBefore(element, place);
  }
}
