/**
 * The forms for logging in and for the account.
 *
 * @import { Session, TaskFlow } from "./taskflow.js"
 */

import { $, attempt, make, onSubmit, say, show } from "./page.js";

/** @type {Record<string, { title: string, note: string, button: string, password: string }>} */
const MODES = {
  "log-in": { title: "Log in", note: "", button: "Log in", password: "current-password" },
  register: {
    title: "Create an account",
    note: "A password has at least 8 characters; spaces are welcome.",
    button: "Register",
    password: "new-password",
  },
  reset: {
    title: "Set a new password",
    note: "Ask the operator of the service for a reset token. It is valid for one hour.",
    button: "Set password",
    password: "new-password",
  },
};

/** Show the form for logging in, registering or resetting the password. @param {string} mode */
export function showWelcome(mode) {
  const form = $("enter");
  const { title, note, button, password } = MODES[mode];
  form.dataset.mode = mode;
  $("welcome-title").textContent = title;
  $("welcome-note").textContent = note;
  form.querySelector("button").textContent = button;
  form.querySelector("[role=alert]").textContent = "";
  form.elements.password.autocomplete = password;
  for (const label of form.querySelectorAll("[data-mode]")) {
    label.hidden = !label.dataset.mode.split(" ").includes(mode);
    label.firstElementChild.disabled = label.hidden;
  }
  for (const choice of $("modes").children) choice.hidden = choice.value === mode;
}

/** @param {Session} session */
function describe({ userAgent, ipAddress, lastUsedAt, current }) {
  const browser = userAgent?.match(/Edg|OPR|Firefox|Chrome|Safari/)?.[0];
  const system = userAgent?.match(/Android|iPhone|iPad|Windows|Mac OS|Linux/)?.[0];
  const name = browser ? [browser, system].filter(Boolean).join(" on ") : userAgent;
  const format = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });
  const about = `${ipAddress ?? ""} · used ${format.format(new Date(lastUsedAt))}`;
  return { name: current ? "This browser" : (name ?? "Unknown client"), about };
}

/**
 * Connect the forms. Return a function that shows the account.
 *
 * @param {TaskFlow} api
 * @param {(action: () => Promise<void>) => Promise<void>} leave runs an action that ends the session
 *   on purpose
 */
export function connect(api, leave) {
  async function showSessions() {
    const fill = (/** @type {HTMLElement} */ item, /** @type {Session} */ session) => {
      const { name, about } = describe(session);
      const text = make("div", {});
      text.append(make("b", { textContent: name }), make("small", { textContent: about }));
      item.replaceChildren(text);
      if (session.current) return;
      const button = make("button", { type: "button", textContent: "End" });
      button.ariaLabel = `End the session ${name}, ${about}`;
      button.addEventListener("click", () => attempt(() => end(session.id), sessions));
      item.append(button);
    };
    const listed = await api.listSessions();
    show(
      $("sessions"),
      listed,
      ({ id }) => id,
      () => make("li", { tabIndex: -1 }),
      fill,
    );
  }

  async function end(/** @type {string} */ id) {
    await api.revokeSession(id);
    await showSessions();
    $("sessions").firstElementChild.focus();
    say("The session has ended.");
  }

  const sessions = $("sessions").parentElement;

  onSubmit(
    $("enter"),
    async ({ email, token, password }) => {
      const mode = $("enter").dataset.mode;
      if (mode === "register") return api.register(email, password);
      if (mode === "log-in") return api.login(email, password);
      await api.resetPassword(token, password);
      $("enter").reset();
      showWelcome("log-in");
      say("The password is set. Log in with it.");
    },
    { newPassword: "password" },
  );
  $("modes").addEventListener("click", (/** @type {any} */ { target }) => {
    if (!MODES[target.value]) return;
    showWelcome(target.value);
    $("enter").querySelector("input:enabled").focus();
  });

  onSubmit($("change-email"), async ({ email, password }) => {
    await api.changeEmail(email, password);
    $("change-email").reset();
    say("The email was changed. Log in with the new one from now on.");
  });
  onSubmit($("change-password"), async ({ currentPassword, newPassword }) => {
    await api.changePassword(currentPassword, newPassword);
    $("change-password").elements.currentPassword.value = "";
    $("change-password").elements.newPassword.value = "";
    say("The password was changed. Every other session has ended.");
    await showSessions();
  });
  onSubmit($("delete-account"), async ({ password }) => {
    await leave(() => api.deleteAccount(password));
    say("The account and its tasks are deleted.");
  });

  return () => attempt(showSessions, sessions);
}
