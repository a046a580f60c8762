/**
 * A client of the TaskFlow API for browsers, which refreshes sessions by itself.
 *
 * The access token stays in memory. Two values outlast a reload: the refresh cookie, which scripts
 * can't read, and the CSRF token, which is useless without that cookie.
 */

const TIMEOUT = 30_000; // milliseconds
const REFRESHABLE = new Set(["auth_missing", "auth_expired", "auth_invalid"]);

/** A failed request. Test `code`, which never changes; it is `network_error` without an answer. */
export class ApiError extends Error {
  constructor(status, { code, message, details = [], correlationId }, retryAfter = null) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
    this.details = details;
    this.fields = Object.fromEntries(details.map((detail) => [detail.field, detail.message]));
    this.correlationId = correlationId;
    this.retryAfter = retryAfter; // seconds
  }
}

export class TaskFlow {
  /** `onUser` is called with the user after a login or refresh, and with null when logged out. */
  constructor(origin, onUser = () => {}) {
    this.base = `${origin}/api/v1`;
    this.onUser = onUser;
    this.accessToken = null;
    this.csrfKey = `csrf of ${origin}`; // for localStorage, because tabs share a session
    this.refreshing = null;
  }

  register(email, password) {
    return this.#begin("/auth/register", { body: { email, password } });
  }

  login(email, password) {
    return this.#begin("/auth/login", { body: { email, password } });
  }

  /** Continue the session of an earlier visit, if there is one. */
  async resume() {
    if (!localStorage.getItem(this.csrfKey)) return this.onUser(null);
    try {
      await this.refresh();
    } catch (error) {
      if (![401, 403].includes(error.status)) throw error;
    }
  }

  /** Get a new access token with the refresh cookie. Concurrent calls share one request. */
  refresh() {
    this.refreshing ??= this.#begin("/auth/refresh", { headers: this.#csrf() })
      .catch((error) => {
        if ([401, 403].includes(error.status)) this.#end();
        throw error;
      })
      .finally(() => {
        this.refreshing = null;
      });
    return this.refreshing;
  }

  async logout() {
    try {
      await this.#send("POST", "/auth/logout", { headers: this.#csrf() });
    } catch (error) {
      if (error.status !== 401) throw error; // on 401 the session had already ended
    }
    this.#end();
  }

  async listSessions() {
    return (await this.#request("GET", "/auth/sessions")).data.data;
  }

  async revokeSession(id) {
    await this.#request("DELETE", `/auth/sessions/${id}`);
  }

  async changePassword(currentPassword, newPassword) {
    await this.#request("PUT", "/auth/password", { body: { currentPassword, newPassword } });
  }

  /** Return a page (`data`, `nextCursor`). `params` is an argument for URLSearchParams. */
  async listTasks(params, cursor) {
    const query = new URLSearchParams(params);
    if (cursor) query.set("cursor", cursor);
    return (await this.#request("GET", `/tasks?${query}`)).data;
  }

  /** Return `task` and its version as `etag`. */
  async getTask(id) {
    return versioned(await this.#request("GET", `/tasks/${id}`));
  }

  /** Create a task. If the answer is lost, call again with the same key to avoid a duplicate. */
  async createTask(body, key = crypto.randomUUID()) {
    const headers = { "Idempotency-Key": key };
    return versioned(await this.#request("POST", "/tasks", { body, headers }));
  }

  /** Change the fields in `body`, if the task still has the version `etag`. */
  async updateTask(id, body, etag) {
    const headers = { "If-Match": etag };
    return versioned(await this.#request("PATCH", `/tasks/${id}`, { body, headers }));
  }

  async deleteTask(id, etag) {
    await this.#request("DELETE", `/tasks/${id}`, { headers: { "If-Match": etag } });
  }

  #csrf() {
    return { "X-CSRF-Token": localStorage.getItem(this.csrfKey) ?? "" };
  }

  async #begin(path, options) {
    const { data } = await this.#send("POST", path, options);
    this.accessToken = data.accessToken;
    localStorage.setItem(this.csrfKey, data.csrfToken);
    this.onUser(data.user);
  }

  #end() {
    this.accessToken = null;
    localStorage.removeItem(this.csrfKey);
    this.onUser(null);
  }

  /** Send with the access token. If the service refuses the token, refresh and send once more. */
  async #request(method, path, options = {}) {
    if (!this.accessToken) await this.refresh();
    const token = this.accessToken;
    const send = () => {
      const headers = { ...options.headers, Authorization: `Bearer ${this.accessToken}` };
      return this.#send(method, path, { ...options, headers });
    };
    try {
      return await send();
    } catch (error) {
      if (error.code === "auth_revoked") this.#end();
      if (!REFRESHABLE.has(error.code)) throw error;
      if (token === this.accessToken) await this.refresh(); // another call may have done it
      return send();
    }
  }

  async #send(method, path, { body, headers }) {
    const correlationId = crypto.randomUUID(); // identifies the request in the service's logs
    let response, text;
    try {
      response = await fetch(this.base + path, {
        method,
        body: body && JSON.stringify(body),
        headers: {
          ...(body && { "Content-Type": "application/json" }),
          "X-Correlation-ID": correlationId,
          ...headers,
        },
        credentials: "include",
        signal: AbortSignal.timeout(TIMEOUT),
      });
      text = await response.text();
    } catch {
      const message = "The service can't be reached.";
      throw new ApiError(0, { code: "network_error", message, correlationId });
    }
    const data = parse(text);
    if (response.ok) return { data, headers: response.headers };
    // The answer may come from a proxy, without an error of the service.
    const message = `The service answered with status ${response.status}.`;
    const error = data?.error ?? { code: "unknown_error", message, correlationId };
    throw new ApiError(response.status, error, Number(response.headers.get("Retry-After")) || null);
  }
}

function versioned({ data, headers }) {
  return { task: data, etag: headers.get("ETag") };
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
